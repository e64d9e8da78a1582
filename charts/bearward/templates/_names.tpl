{{- define "bearward.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "bearward.fullname" -}}
{{- $name := include "bearward.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $full | trunc 57 | trimSuffix "-" -}}
{{- end -}}

{{- define "bearward.selector" -}}
app.kubernetes.io/name: {{ include "bearward.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "bearward.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "bearward.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "bearward.metadata" -}}
name: {{ include "bearward.fullname" . }}
labels:
  {{- include "bearward.labels" . | nindent 2 }}
{{- end -}}

{{- define "bearward.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "bearward.fullname" .) "default") -}}
{{- end -}}

{{- /* Where a change rolls the pods each file has a ConfigMap of its own: the running pods must not take the new one. */ -}}
{{- define "bearward.configMap" -}}
{{- if .Values.existingConfigMap -}}
  {{- .Values.existingConfigMap -}}
{{- else if eq .Values.onConfigChange "roll" -}}
  {{- printf "%s-%s" (include "bearward.fullname" .) (include "bearward.toml" (dict "values" .Values) | sha256sum | trunc 10) -}}
{{- else -}}
  {{- include "bearward.fullname" . -}}
{{- end -}}
{{- end -}}

{{- define "bearward.context" -}}
{{- dict "values" .Values "configMap" (include "bearward.configMap" .) | toJson -}}
{{- end -}}

{{- /* Sessions in one pod's memory or file are unknown to the others: whom the Service sends there would be logged out. */ -}}
{{- define "bearward.oneStore" -}}
{{- $file := include "bearward.file" .Values.config | fromJson -}}
{{- $store := dig "store" "url" "memory:" $file -}}
{{- $several := or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1) -}}
{{- if and $file.sessions $several (not (hasPrefix "redis" $store)) -}}
  {{- fail (printf "\n\nSessions are kept in %q, which only one pod can see. Set `replicaCount: 1` (and no `autoscaling`), or [store] url = \"redis://host:6379\" in `config`.\n" $store) -}}
{{- end -}}
{{- end -}}

{{- /* Seconds of "250ms", "30s", "5m" and so on. */ -}}
{{- define "bearward.seconds" -}}
{{- $unit := get (dict "s" 1 "m" 60 "h" 3600 "d" 86400) (regexFind "[a-z]+$" .) | default 0 -}}
{{- mul (regexFind "^[0-9]+" . | int) $unit -}}
{{- end -}}

{{- /* What is killed before it has drained loses requests at each rollout. */ -}}
{{- define "bearward.drained" -}}
{{- $drain := dig "server" "drain" dict (include "bearward.file" .Values.config | fromJson) -}}
{{- if and (not .Values.existingConfigMap) (kindIs "map" $drain) -}}
  {{- $takes := 0 -}}
  {{- range $name, $default := dict "delay" "5s" "timeout" "30s" -}}
    {{- $takes = add $takes (include "bearward.seconds" (get $drain $name | default $default | toString) | int) -}}
  {{- end -}}
  {{- if gt $takes (int .Values.terminationGracePeriodSeconds) -}}
    {{- fail (printf "\n\n`server.drain` takes %v s, and Kubernetes kills a pod after %v s: set `terminationGracePeriodSeconds: %v`, or shorten `delay` or `timeout` in `config`.\n" $takes .Values.terminationGracePeriodSeconds (add $takes 10)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
