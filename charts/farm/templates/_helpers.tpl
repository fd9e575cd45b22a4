{{- define "farm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "farm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "farm.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "farm.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "farm.selector" -}}
app.kubernetes.io/name: {{ include "farm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: service
{{- end -}}

{{- define "farm.labels" -}}
app.kubernetes.io/name: {{ include "farm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "farm.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- define "farm.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "farm.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- define "farm.tokenSecret" -}}
{{ default (printf "%s-admin" (include "farm.fullname" .)) .Values.adminToken.existingSecret }}
{{- end -}}

{{- define "farm.tlsSecret" -}}
{{ default (printf "%s-tls" (include "farm.fullname" .)) .Values.tls.existingSecret }}
{{- end -}}

{{- define "farm.claim" -}}
{{ default (include "farm.fullname" .) .Values.persistence.existingClaim }}
{{- end -}}

{{- define "farm.host" -}}
{{ include "farm.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "farm.url" -}}
{{ default (printf "https://%s:%d" (include "farm.host" .) (int .Values.service.port)) .Values.listen.url }}
{{- end -}}

{{/* What the namespace level `restricted` asks for. */}}
{{- define "farm.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ int .Values.user }}
runAsGroup: {{ int .Values.user }}
fsGroup: {{ int .Values.user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "farm.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The pool of pods, as TOML. What executors.options says comes before what the chart says. */}}
{{- define "farm.pool" -}}
{{- $said := .Values.executors -}}
{{- $options := dict
  "namespace" .Release.Namespace
  "owner" (printf "Deployment/%s" (include "farm.fullname" .))
  "image_pull_policy" $said.image.pullPolicy
  "image_pull_secrets" .Values.imagePullSecrets
  "service_account" (printf "%s-executor" (include "farm.fullname" .))
  "labels" (dict "app.kubernetes.io/instance" .Release.Name)
  "cpu" (toString $said.cpu)
  "memory" $said.memory
  "disk" $said.disk -}}
{{- $pool := dict
  "provider" "kubernetes"
  "image" (printf "%s:%s" $said.image.repository (default .Chart.AppVersion $said.image.tag))
  "slots" (int $said.slots)
  "ceiling" (int $said.ceiling)
  "floor" (int $said.floor)
  "boot" $said.boot
  "price_per_hour" (toString $said.pricePerHour)
  "options" (mergeOverwrite $options $said.options) -}}
{{- if $said.idle }}{{ $_ := set $pool "idle" $said.idle }}{{ end -}}
{{- if $said.setup }}{{ $_ := set $pool "setup" $said.setup }}{{ end -}}
{{- toToml (dict "pools" (dict "pods" $pool)) -}}
{{- end -}}
