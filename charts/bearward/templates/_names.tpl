{{- define "bearward.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "bearward.fullname" -}}
{{- $name := include "bearward.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $full | trunc 57 | trimSuffix "-" -}}
{{- end -}}

{{- define "bearward.selector" -}}
app.kubernetes.io/name: {{ include "bearward.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- /*
Labels or annotations, each key once: `ours`, and those that are `given`, a list of pairs of a value's name and what it holds, of
which a later pair wins. Ours cannot be given anew: selectors and rollouts go by them.
*/ -}}
{{- define "bearward.joined" -}}
{{- $joined := dict -}}
{{- $ours := .ours -}}
{{- range .given -}}
  {{- $value := first . -}}
  {{- range $key, $text := last . -}}
    {{- if hasKey $ours $key -}}
      {{- fail (printf "\n\n`%s` has the key %q, which is set by the chart itself: leave it out, or choose another key.\n" $value $key) -}}
    {{- end -}}
    {{- $_ := set $joined $key $text -}}
  {{- end -}}
{{- end -}}
{{- merge $joined $ours | toYaml -}}
{{- end -}}

{{- /*
The labels of an object. Takes a dict of `root`, and where there are some `component` and, as a pair for `bearward.joined`,
`further` ones.
*/ -}}
{{- define "bearward.labels" -}}
{{- $ours := include "bearward.selector" .root | fromYaml -}}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- $_ := set $ours "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- with .component }}{{ $_ := set $ours "app.kubernetes.io/component" . }}{{ end -}}
{{- $given := list (list "commonLabels" .root.Values.commonLabels) -}}
{{- with .further }}{{ $given = append $given . }}{{ end -}}
{{- include "bearward.joined" (dict "ours" $ours "given" $given) -}}
{{- end -}}

{{- /* Takes what `bearward.labels` does, and where there is one the `suffix` of the name. */ -}}
{{- define "bearward.metadata" -}}
name: {{ include "bearward.fullname" .root }}{{ .suffix | default "" }}
labels:
  {{- include "bearward.labels" . | nindent 2 }}
{{- end -}}

{{- define "bearward.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "bearward.fullname" .) "default") -}}
{{- end -}}

{{- define "bearward.context" -}}
{{- include "bearward.of" (dict "values" .Values "name" (include "bearward.fullname" .)) -}}
{{- end -}}

{{- /* What its listener speaks. */ -}}
{{- define "bearward.scheme" -}}
{{- $file := include "bearward.file" .Values.config | fromJson -}}
{{- dig "server" "tls" false $file | empty | ternary "http" "https" -}}
{{- end -}}

{{- define "bearward.strategy" -}}
{{- $store := dig "store" "url" "" (include "bearward.file" .Values.config | fromJson) | toString -}}
{{- $type := .Values.strategy | default (hasPrefix "file:" $store | ternary "Recreate" "RollingUpdate") -}}
type: {{ $type }}
{{- if eq $type "RollingUpdate" }}
rollingUpdate:
  # Nobody goes before another is ready: what a bad configuration keeps from starting, the old pods still do.
  maxUnavailable: 0
  maxSurge: 1
{{- end -}}
{{- end -}}

{{- /* Sessions in one pod's memory or file are unknown to the others: whom the Service sends there would be logged out. */ -}}
{{- define "bearward.oneStore" -}}
{{- $file := include "bearward.file" .Values.config | fromJson -}}
{{- $store := dig "store" "url" "memory:" $file | toString -}}
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
  {{- if ge $takes (int .Values.terminationGracePeriodSeconds) -}}
    {{- fail (printf "\n\n`server.drain` takes %v s, and Kubernetes kills a pod after %v s: set `terminationGracePeriodSeconds: %v`, or shorten `delay` or `timeout` in `config`.\n" $takes .Values.terminationGracePeriodSeconds (add $takes 10)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
