{{/* Names of objects. One release per cluster: the webhook speaks for all of it. */}}
{{- define "podkey.name" -}}podkey-injector{{- end -}}

{{- define "podkey.selector" -}}
app.kubernetes.io/name: podkey
app.kubernetes.io/component: injector
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Of whatever is not a part of the injector: its Service must not lead there. */}}
{{- define "podkey.testLabels" -}}
app.kubernetes.io/name: podkey
app.kubernetes.io/component: test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "podkey.labels" -}}
{{ include "podkey.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{/* repository@digest where a digest is given, else repository:tag. */}}
{{- define "podkey.image" -}}
{{- $image := index . 0 -}}{{- $chart := index . 1 -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $image.repository $image.digest }}
{{- else -}}
{{ printf "%s:%s" $image.repository ($image.tag | default $chart.AppVersion) }}
{{- end -}}
{{- end -}}

{{/* The namespaces whose pods never reach the webhook: the cluster must start without us. */}}
{{- define "podkey.protectedNamespaces" -}}
[kube-system, kube-public, kube-node-lease, {{ .Release.Namespace }}]
{{- end -}}

{{/* Enabled namespaces: every value of the label but `disabled`, so that a typing mistake is told and not
     silently taken for no. */}}
{{- define "podkey.namespaceSelector" -}}
matchExpressions:
  - {key: podkey.io/inject, operator: Exists}
  - {key: podkey.io/inject, operator: NotIn, values: [disabled]}
  - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ include "podkey.protectedNamespaces" . }}}
{{- end -}}

{{/* matchConditions: on by default since 1.28. ValidatingAdmissionPolicy v1: since 1.30, and where they are wanted. */}}
{{- define "podkey.hasMatchConditions" -}}
{{- if semverCompare ">=1.28.0-0" .Capabilities.KubeVersion.Version -}}yes{{- end -}}
{{- end -}}
{{- define "podkey.hasAdmissionPolicies" -}}
{{- if and .Values.admissionPolicies (include "podkey.knowsAdmissionPolicies" .) -}}yes{{- end -}}
{{- end -}}
{{- define "podkey.knowsAdmissionPolicies" -}}
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version -}}yes{{- end -}}
{{- end -}}

{{- define "podkey.clientConfig" -}}
{{- $root := index . 0 -}}
service:
  name: {{ include "podkey.name" $root }}
  namespace: {{ $root.Release.Namespace }}
  path: {{ index . 1 }}
  port: 443
{{- end -}}

{{/* What binds the policy of this name to all that it matches. */}}
{{- define "podkey.admissionBinding" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}
{{- if include "podkey.hasAdmissionPolicies" $root -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels: {{- include "podkey.labels" $root | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
{{- end -}}
{{- end -}}

{{/* What `helm test` makes, and takes away when it was fine; what failed stays to be looked at. */}}
{{- define "podkey.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ index . 0 | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "podkey.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
# The projected token is readable for this group.
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "podkey.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The account's token, short-lived and renewed. */}}
{{- define "podkey.tokenVolume" -}}
name: token
projected:
  sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3600}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI:
        items:
          - {path: namespace, fieldRef: {fieldPath: metadata.namespace}}
{{- end -}}
