{{- /* What an account may do in the served namespaces: a Role in each, or one ClusterRole for all. */ -}}

{{- /* "true" if every namespace is served, those of the future too; else empty. */ -}}
{{- define "model-provisioner.everywhere" -}}
{{- if has "*" .Values.watchNamespaces -}}
{{- if gt (len .Values.watchNamespaces) 1 -}}
{{- fail "\"*\" in watchNamespaces means every namespace, so it stands alone: leave the others out" -}}
{{- end -}}
true
{{- end -}}
{{- end }}

{{- /* What a policy binding matches: objects in the served namespaces. */ -}}
{{- define "model-provisioner.servedNamespaces" -}}
{{- if include "model-provisioner.everywhere" . -}}
namespaceSelector: {}
{{- else -}}
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: In
      values:
        {{- include "model-provisioner.watchNamespaces" . | fromJsonArray | toYaml | nindent 8 }}
{{- end -}}
{{- end }}

{{- /*
The arguments: `context`, the `name` of the account and of the Roles, and the `rules`. `home` has further rules for the
release's own namespace.
*/ -}}
{{- define "model-provisioner.rights" -}}
{{- $labels := include "model-provisioner.labels" .context -}}
{{- $home := .context.Release.Namespace -}}
{{- $rights := . -}}
{{- $namespaces := include "model-provisioner.watchNamespaces" .context | fromJsonArray -}}
{{- if include "model-provisioner.everywhere" .context -}}
{{- $namespaces = list -}}
{{- if .home -}}
{{- $namespaces = list $home }}
{{- end }}
---
# Every namespace is served (watchNamespaces), those of the future too.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $home }}-{{ .name }}
  labels:
    {{- $labels | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $home }}-{{ .name }}
  labels:
    {{- $labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $home }}-{{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .name }}
    namespace: {{ $home | quote }}
{{- end }}
{{- range $namespace := $namespaces }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $rights.name }}
  namespace: {{ $namespace | quote }}
  labels:
    {{- $labels | nindent 4 }}
rules:
  {{- if not (include "model-provisioner.everywhere" $rights.context) }}
  {{- $rights.rules | nindent 2 }}
  {{- end }}
  {{- if and $rights.home (eq $namespace $home) }}
  {{- $rights.home | nindent 2 }}
  {{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $rights.name }}
  namespace: {{ $namespace | quote }}
  labels:
    {{- $labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $rights.name }}
subjects:
  - kind: ServiceAccount
    name: {{ $rights.name }}
    namespace: {{ $home | quote }}
{{- end }}
{{- end }}
