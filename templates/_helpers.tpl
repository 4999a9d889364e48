{{- /* Names and labels that every template uses. */ -}}

{{- define "model-provisioner.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 49 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 49 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "model-provisioner.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* A selector of every pod of the release, also of its Jobs. Other charts of the same release may share its instance label. */ -}}
{{- define "model-provisioner.allPods" -}}
matchLabels:
  app.kubernetes.io/instance: {{ .Release.Name | quote }}
matchExpressions:
  - key: app.kubernetes.io/name
    operator: In
    values: [{{ .Chart.Name }}, {{ .Chart.Name }}-gateway, {{ .Chart.Name }}-definition, {{ .Chart.Name }}-test, {{ .Chart.Name }}-uninstall]
{{- end }}

{{- /* The chart's own labels win over commonLabels: a Service that selects by them must find its pod. */ -}}
{{- define "model-provisioner.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_")
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service -}}
{{- merge $own (include "model-provisioner.selectorLabels" . | fromYaml) .Values.commonLabels | toYaml }}
{{- end }}

{{- define "model-provisioner.podLabels" -}}
{{- merge (include "model-provisioner.labels" . | fromYaml) .Values.podLabels | toYaml }}
{{- end }}

{{- define "model-provisioner.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "model-provisioner.claimName" -}}
{{ .Values.persistence.existingClaim | default "models" }}
{{- end }}

{{- /* The number of the operator's pods. All of them mount the claim. */ -}}
{{- define "model-provisioner.replicas" -}}
{{- $replicas := int .Values.replicas -}}
{{- with .Values.persistence -}}
{{- if and (gt $replicas 1) .enabled (not .existingClaim) (not (has "ReadWriteMany" .accessModes)) -}}
{{- fail (printf "replicas is %d, and the claim that the chart creates is %s: only with ReadWriteMany can pods on several nodes mount it. Set persistence.accessModes={ReadWriteMany} and a persistence.storageClassName that supports it, or persistence.enabled=false, or replicas=1" $replicas (join ", " .accessModes)) -}}
{{- end -}}
{{- end -}}
{{ $replicas }}
{{- end }}

{{- /* The value of --store: the claim in the release's namespace, or none. */ -}}
{{- define "model-provisioner.store" -}}
{{- if .Values.persistence.enabled -}}
{{ .Release.Namespace }}/{{ include "model-provisioner.claimName" . }}=/models
{{- else if .Values.persistence.existingClaim -}}
{{- fail "persistence.existingClaim names a claim, and persistence.enabled=false means that no claim is mounted: set one of them" -}}
{{- else -}}
none
{{- end -}}
{{- end }}

{{- /* The value of --proxy: the proxy's URL, or @ and the file that holds a URL with a password. */ -}}
{{- define "model-provisioner.proxy" -}}
{{- if and .Values.proxy .Values.proxySecret.name -}}
{{- fail "set proxy or proxySecret.name, not both" -}}
{{- else if and (or .Values.proxy .Values.proxySecret.name) (not .Values.allowedHosts) -}}
{{- fail "a proxy hides which addresses are connected to, so say which hosts may be fetched from: allowedHosts, e.g. [\"huggingface.co:443\", \"*.hf.co:443\"]" -}}
{{- else if .Values.proxySecret.name -}}
@/etc/model-provisioner/proxy/url
{{- else -}}
{{ .Values.proxy }}
{{- end -}}
{{- end }}

{{- /* The release's own namespace is always watched: the store is there, and it is the gateway's default. */ -}}
{{- define "model-provisioner.watchNamespaces" -}}
{{- if include "model-provisioner.everywhere" . -}}
["*"]
{{- else -}}
{{- prepend .Values.watchNamespaces .Release.Namespace | uniq | toJson -}}
{{- end -}}
{{- end }}

{{- /* The annotations of the objects that update the definition; the argument is the weight, in quotes. */ -}}
{{- define "model-provisioner.definitionHook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- /* EKS would give the token of the operator's role to the gateway's container too, which clients reach. */ -}}
{{- define "model-provisioner.podAnnotations" -}}
{{- $own := dict -}}
{{- if and .Values.ambientCredentials .Values.gateway.enabled -}}
{{- $_ := set $own "eks.amazonaws.com/skip-containers" "gateway" -}}
{{- end -}}
{{- with merge (deepCopy .Values.podAnnotations) $own -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "model-provisioner.testLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}
