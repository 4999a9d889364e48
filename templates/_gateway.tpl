{{- /* The gateway's container and volumes: part of the operator's pod, or of one of its own (gateway.mode). */ -}}

{{- define "model-provisioner.gatewaySelectorLabels" -}}
{{- if eq .Values.gateway.mode "Deployment" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-gateway
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- else -}}
{{ include "model-provisioner.selectorLabels" . }}
{{- end -}}
{{- end }}

{{- /* The names, besides the Service's, under which clients reach the gateway. */ -}}
{{- define "model-provisioner.gatewayHosts" -}}
{{- $hosts := .Values.gateway.allowedHosts -}}
{{- if .Values.ingress.enabled }}{{ $hosts = concat $hosts .Values.ingress.hosts }}{{ end -}}
{{- if .Values.httpRoute.enabled }}{{ $hosts = concat $hosts .Values.httpRoute.hostnames }}{{ end -}}
{{- $hosts | uniq | toJson -}}
{{- end }}

{{- define "model-provisioner.gatewayContainer" -}}
- name: gateway
  image: {{ include "model-provisioner.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args:
    - gateway
    - --listen=0.0.0.0:8081
    {{- /* Without namespaces it shows all that it may list in the cluster. */}}
    {{- range without (include "model-provisioner.watchNamespaces" . | fromJsonArray) "*" }}
    - --watch-namespace={{ . }}
    {{- end }}
    - --default-namespace={{ .Release.Namespace }}
    - --lease-namespace={{ .Release.Namespace }}
    - --auth={{ .Values.gateway.auth }}
    {{- if .Values.gateway.anonymousWrites }}
    - --anonymous-writes
    {{- end }}
    {{- if eq .Values.gateway.auth "none" }}
    {{- $service := include "model-provisioner.fullname" . }}
    - --allowed-host={{ $service }}
    - --allowed-host={{ $service }}.{{ .Release.Namespace }}
    - --allowed-host={{ $service }}.{{ .Release.Namespace }}.svc
    - --allowed-host={{ $service }}.{{ .Release.Namespace }}.svc.cluster.local
    {{- range include "model-provisioner.gatewayHosts" . | fromJsonArray }}
    - {{ printf "--allowed-host=%s" . | quote }}
    {{- end }}
    {{- end }}
    {{- with .Values.gateway.basePath }}
    - --base-path={{ . }}
    {{- end }}
    {{- range .Values.gateway.corsOrigins }}
    - --cors-origin={{ . }}
    {{- end }}
    {{- if .Values.gateway.tlsSecretName }}
    - --tls-cert=/etc/model-provisioner/tls/tls.crt
    - --tls-key=/etc/model-provisioner/tls/tls.key
    {{- end }}
    - --max-streams={{ int .Values.gateway.maxStreams }}
    - --max-streams-per-identity={{ int .Values.gateway.maxStreamsPerIdentity }}
  {{- with .Values.gateway.extraEnv }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: http
      containerPort: 8081
  startupProbe:
    httpGet:
      path: /healthz
      port: http
      {{- if .Values.gateway.tlsSecretName }}
      scheme: HTTPS
      {{- end }}
    periodSeconds: 2
    failureThreshold: 60
  livenessProbe:
    httpGet:
      path: /healthz
      port: http
      {{- if .Values.gateway.tlsSecretName }}
      scheme: HTTPS
      {{- end }}
    timeoutSeconds: 5
    failureThreshold: 6
  readinessProbe:
    httpGet:
      path: /readyz
      port: http
      {{- if .Values.gateway.tlsSecretName }}
      scheme: HTTPS
      {{- end }}
    periodSeconds: 5
  resources:
    {{- toYaml .Values.gateway.resources | nindent 4 }}
  securityContext:
    {{- include "model-provisioner.containerSecurityContext" . | nindent 4 }}
  volumeMounts:
    - name: gateway-tmp
      mountPath: /tmp
    - name: gateway-token
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
    {{- if .Values.gateway.tlsSecretName }}
    # As a directory: a file that is mounted by itself would stay the old one when the Secret is renewed.
    - name: gateway-tls
      mountPath: /etc/model-provisioner/tls
      readOnly: true
    {{- end }}
{{- end }}

{{- define "model-provisioner.gatewayVolumes" -}}
- name: gateway-tmp
  emptyDir:
    sizeLimit: 16Mi
{{- with .Values.gateway.tlsSecretName }}
- name: gateway-tls
  secret:
    secretName: {{ . | quote }}
{{- end }}
{{- end }}
