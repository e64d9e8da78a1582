{{- /*
For charts that depend on this one; each takes the root context. In the pod:

    initContainers:
      {{- include "bearward.sidecar" . | nindent 6 }}
    volumes:
      {{- include "bearward.sidecar.volumes" . | nindent 6 }}

and in a file of its own {{ include "bearward.sidecar.configMap" . }}, unless `existingConfigMap` names one.
*/ -}}

{{- define "bearward.sidecar.context" -}}
{{- $values := index .Values "bearward-sidecar" -}}
{{- if not $values -}}
  {{- fail "\n\nThere are no values under `bearward-sidecar`: the dependency must have that name, and no `alias`.\n" -}}
{{- end -}}
{{- include "bearward.of" (dict "values" $values "name" (printf "%s-bearward" .Release.Name)) -}}
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
    app.kubernetes.io/instance: {{ .Release.Name | quote }}
    app.kubernetes.io/managed-by: {{ .Release.Service }}
data:
  bearward.toml: |
    {{- include "bearward.toml" $context | nindent 4 }}
{{- end -}}
{{- end -}}
