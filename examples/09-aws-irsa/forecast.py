"""Reads sales and writes a forecast, as with any credentials of AWS."""

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")

days = s3.list_objects_v2(Bucket="acme-sales", Prefix="daily/")["Contents"]
sales = [int(s3.get_object(Bucket="acme-sales", Key=day["Key"])["Body"].read()) for day in days]
print(f"read       {len(sales)} days")

s3.put_object(Bucket="acme-forecasts", Key="daily/next.txt", Body=str(sum(sales) // len(sales)).encode())
print("written    daily/next.txt")

try:
    s3.put_object(Bucket="acme-sales", Key="daily/next.txt", Body=b"0")
except ClientError as error:
    print(f"refused    {error.response['Error']['Code']}: {error.response['Error']['Message']}")
