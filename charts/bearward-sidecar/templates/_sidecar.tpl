{{- /*
For charts that depend on this one; each takes the root context. In the pod:

    initContainers:
      {{- include "bearward.sidecar" . | nindent 6 }}
    volumes:
      {{- include "bearward.sidecar.volumes" . | nindent 6 }}

and in a file of its own {{ include "bearward.sidecar.configMap" . }}, unless `existingConfigMap` names one.
*/ -}}

{{- define "bearward.sidecar.values" -}}
{{- $values := index .Values "bearward-sidecar" -}}
{{- if not $values -}}
  {{- fail "\n\nThere are no values under `bearward-sidecar`: the dependency must have that name, and no `alias`.\n" -}}
{{- end -}}
{{- if and $values.existingConfigMap (or $values.config $values.issuer $values.audience $values.upstream) -}}
  {{- fail "\n\n`existingConfigMap` holds the whole file: leave out `config`, `issuer`, `audience` and `upstream`.\n" -}}
{{- end -}}
{{- toJson $values -}}
{{- end -}}

{{- define "bearward.sidecar.name" -}}
{{- $values := include "bearward.sidecar.values" . | fromJson -}}
{{- $values.existingConfigMap | default (printf "%s-bearward" (.Release.Name | trunc 54 | trimSuffix "-")) -}}
{{- end -}}

{{- define "bearward.sidecar.context" -}}
{{- dict "values" (include "bearward.sidecar.values" . | fromJson) "configMap" (include "bearward.sidecar.name" .) | toJson -}}
{{- end -}}

{{- /* The check of the file, then the native sidecar: it starts before the application and stops after it. */ -}}
{{- define "bearward.sidecar" -}}
{{- $context := include "bearward.sidecar.context" . | fromJson -}}
-
  {{- include "bearward.check" $context | nindent 2 }}
-
  {{- include "bearward.container" $context | nindent 2 }}
  restartPolicy: Always
{{- end -}}

{{- define "bearward.sidecar.volumes" -}}
{{- include "bearward.volumes" (include "bearward.sidecar.context" . | fromJson) -}}
{{- end -}}

{{- define "bearward.sidecar.configMap" -}}
{{- $context := include "bearward.sidecar.context" . | fromJson -}}
{{- if not $context.values.existingConfigMap -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $context.configMap }}
  labels:
    app.kubernetes.io/name: bearward
    app.kubernetes.io/instance: {{ .Release.Name }}
    app.kubernetes.io/managed-by: {{ .Release.Service }}
data:
  bearward.toml: |
    {{- include "bearward.toml" $context | nindent 4 }}
{{- end -}}
{{- end -}}
