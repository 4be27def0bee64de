"""The lease book: which credential is live, which is to be asked for, and when. Time is an argument."""
