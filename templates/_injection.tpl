{{- /* What the two policies of injection.yaml share: the names in Kubernetes, and how the annotations of a pod are read. */ -}}

{{- define "model-provisioner.injectionName" -}}
{{ printf "%s-%s-injection" .Release.Namespace (include "model-provisioner.fullname" .) }}
{{- end }}

{{- /* Refuses values that would give pods a gate that nothing opens, or policies that the API server does not know. */ -}}
{{- define "model-provisioner.checkInjection" -}}
{{- if not .Values.gates.enabled -}}
{{- fail "injection.enabled needs gates.enabled: the policy gives pods a scheduling gate, and without gates.enabled the operator opens none" -}}
{{- end -}}
{{- if not (semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "injection.enabled needs Kubernetes 1.36 or later (MutatingAdmissionPolicy in admissionregistration.k8s.io/v1), not %s: switch it off and write what it adds into your manifests (docs/workers.md). For a newer cluster, tell `helm template` its version by --kube-version" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end }}

{{- /* The pod or the template of pods in `object` or `oldObject`. */ -}}
{{- define "model-provisioner.injectionTemplate" -}}
(request.kind.kind == 'Pod' ? {{ . }} : request.kind.kind == 'CronJob' ? {{ . }}.spec.jobTemplate.spec.template : {{ . }}.spec.template)
{{- end }}

{{- /* The variables of both policies. `variables.template` is the pod, or the template of pods. The operator reads the names of
models in the same way (domain/pods/wanted.py), and looks at the grammar of refs beyond their beginning. */ -}}
{{- define "model-provisioner.injectionVariables" -}}
- name: annotations
  expression: >-
    variables.template.metadata.annotations
- name: models
  expression: >-
    variables.annotations['models.rbee.dev/use'].split(',', 17).map(x, x.trim())
# MODEL_PATH_<NAME> of each model: other characters than letters and digits become _.
- name: names
  expression: >-
    variables.models.map(x, x.size() > 1024 ? x : x.upperAscii().split('').map(c,
    'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'.contains(c) ? c : '_').join(''))
- name: wrong
  expression: >-
    variables.models.filter(x, x != '' && (x.size() > 1024 || !(x.matches('^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$')
    || x.matches('^(hf|modelscope|https?|s3|oci|ollama|local):[!-~]+$')
    || x.matches('^(?i:(https?://)?(www[.])?(huggingface|hf)[.]co(:[0-9]+)?[/?#][!-~]*)$'))))
- name: twice
  expression: >-
    variables.names.filter(n, n != '' && !variables.names.exists_one(o, o == n))
- name: claim
  expression: >-
    variables.annotations[?'models.rbee.dev/claim'].orValue(
    request.namespace == '{{ .Release.Namespace }}' ? '{{ if .Values.persistence.enabled }}{{ include "model-provisioner.claimName" . }}{{ end }}' : '')
- name: mountPath
  expression: >-
    variables.annotations[?'models.rbee.dev/mount-path'].orValue('{{ .Values.catalog.mountPath }}')
# Names of containers; empty if the annotation is missing.
- name: asked
  expression: >-
    variables.annotations[?'models.rbee.dev/containers'].optMap(v, v.split(',', 257).map(x, x.trim())).orValue([])
{{- end }}

{{- /* What the annotations of a pod must be, each rule with what is to be done if it does not hold. The policy that changes
pods leaves a pod alone that breaks one, and the policy that refuses pods shows the message. */ -}}
{{- define "model-provisioner.injectionRules" -}}
- expression: >-
    !variables.models.exists(x, x == '')
  message: >-
    the annotation models.rbee.dev/use has an empty entry: write names of ModelDownloads or model refs, with a comma between
    two of them, such as tinyllama or hf:owner/repo:Q4_K_M
- expression: >-
    variables.annotations['models.rbee.dev/use'].size() <= 8192
  message: >-
    the annotation models.rbee.dev/use has more than 8192 characters: leave models or blanks out
- expression: >-
    variables.models.size() <= 16
  message: >-
    the annotation models.rbee.dev/use names more than 16 models: leave some out
- expression: >-
    variables.wrong.size() == 0
  message: >-
    an entry of the annotation models.rbee.dev/use is neither the name of a ModelDownload, such as tinyllama, nor a model ref,
    such as hf:owner/repo:Q4_K_M: correct it
  messageExpression: >-
    "'" + variables.wrong[0] + "' in the annotation models.rbee.dev/use is neither the name of a ModelDownload, such as tinyllama,"
    + " nor a model ref, such as hf:owner/repo:Q4_K_M: correct it"
- expression: >-
    variables.twice.size() == 0
  message: >-
    two entries of the annotation models.rbee.dev/use have the same variable MODEL_PATH_<NAME>: name each model once, or give
    one of the ModelDownloads another name
  messageExpression: >-
    'two entries of the annotation models.rbee.dev/use have the variable MODEL_PATH_' + variables.twice[0]
    + ': name each model once, or give one of the ModelDownloads another name'
- expression: >-
    variables.claim.matches('^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$')
  message: >-
    the annotation models.rbee.dev/claim must name the PersistentVolumeClaim that has the models, in the pod's own namespace.
    Only in the namespace {{ .Release.Namespace }} it may be left out
- expression: >-
    variables.mountPath.size() <= 512 && variables.mountPath.matches('^(/[A-Za-z0-9._+-]*[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+$')
  message: >-
    the annotation models.rbee.dev/mount-path must be an absolute path of letters, digits and . _ + -, without / at its end,
    such as {{ .Values.catalog.mountPath }}
- expression: >-
    variables.asked.size() <= 256 && variables.asked.all(x, x.matches('^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'))
  message: >-
    the annotation models.rbee.dev/containers must have names of containers, with a comma between two of them: correct it, or
    leave it out for all containers that are no init containers
- expression: >-
    variables.template.spec.?nodeName.orValue('') == ''
  message: >-
    a pod with the annotation models.rbee.dev/use can't have spec.nodeName, because it is held back from the scheduler until
    its models are there: use a nodeSelector on kubernetes.io/hostname
{{- end }}
