{{- /* What the pods of the release have in common. */ -}}

{{- /* How the pod gets its images and which rights its processes have. fsGroup is for the pods that mount the claim: `volumes`. */ -}}
{{- define "model-provisioner.podSecurity" -}}
{{- with .context.Values.imagePullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{ end -}}
securityContext:
  runAsNonRoot: true
  {{- with .context.Values.podSecurity.runAsUser }}
  runAsUser: {{ int64 . }}
  {{- end }}
  {{- with .context.Values.podSecurity.runAsGroup }}
  runAsGroup: {{ int64 . }}
  {{- end }}
  {{- if .volumes }}
  {{- with .context.Values.podSecurity.fsGroup }}
  fsGroup: {{ int64 . }}
  {{- end }}
  # Without this a start walks through every file of the volume.
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "model-provisioner.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* A token of the pod's account, as Kubernetes mounts it, but into the containers that ask for it. */ -}}
{{- define "model-provisioner.tokenVolume" -}}
projected:
  sources:
    - serviceAccountToken:
        path: token
        expirationSeconds: 3607
    - configMap:
        name: kube-root-ca.crt
        items:
          - key: ca.crt
            path: ca.crt
    - downwardAPI:
        items:
          - path: namespace
            fieldRef:
              fieldPath: metadata.namespace
{{- end }}

{{- /* How the operator's pods are spread: several of them over nodes, if nothing else is said. */ -}}
{{- define "model-provisioner.spread" -}}
{{- if .Values.topologySpreadConstraints -}}
{{- toYaml .Values.topologySpreadConstraints -}}
{{- else if gt (int .Values.replicas) 1 -}}
- topologyKey: kubernetes.io/hostname
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
{{- end -}}
{{- end }}

{{- /* Which nodes the pod may run on, and before which other pods. */ -}}
{{- define "model-provisioner.placement" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* What the operator adds to worker pods, as the JSON of --worker-template. */ -}}
{{- define "model-provisioner.workerTemplate" -}}
{{- $user := dict -}}
{{- range $key, $id := .Values.podSecurity -}}
{{- if $id -}}
{{- $_ := set $user $key (int64 $id) -}}
{{- end -}}
{{- end -}}
{{- $user = mergeOverwrite $user .Values.workers.podSecurity -}}
{{- $labels := mergeOverwrite (dict) .Values.commonLabels .Values.workers.podLabels -}}
{{- $template := dict "labels" $labels "resources" .Values.workers.resources "podSecurityContext" $user -}}
{{- with .Values.workers.podAnnotations -}}
{{- $_ := set $template "annotations" . -}}
{{- end -}}
{{- range $key := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" "serviceAccountName" -}}
{{- with get $.Values.workers $key -}}
{{- $_ := set $template $key . -}}
{{- end -}}
{{- end -}}
{{- if and .Values.proxySecret.name .Values.workers.enabled -}}
{{- fail "workers.enabled and proxySecret.name: a worker pod runs in a tenant's namespace, where the password of the proxy can be read" -}}
{{- end -}}
{{- toJson $template -}}
{{- end }}
