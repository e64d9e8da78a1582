{{- /*
What a pod needs to run Bearward, beside an application and in front of one: the charts bearward and bearward-sidecar each
have this file, and a test holds the two the same. Each template takes a dict of `values` (those of the chart) and `configMap` (the name of the one that holds
bearward.toml).
*/ -}}

{{- /*
What all templates here take, as JSON, of the chart's `values` and the `name` of its objects. Where a change rolls the pods each
file has a ConfigMap of its own: the running pods must not take the new one.
*/ -}}
{{- define "bearward.of" -}}
{{- $name := .name -}}
{{- $given := .values.existingConfigMap -}}
{{- if and $given (or .values.config .values.issuer .values.audience .values.upstream) -}}
  {{- fail "\n\n`existingConfigMap` holds the whole file: leave out `config`, `issuer`, `audience` and `upstream`.\n" -}}
{{- else if and (not $given) (eq .values.onConfigChange "roll") -}}
  {{- $name = printf "%s-%s" $name (include "bearward.toml" . | sha256sum | trunc 10) -}}
{{- end -}}
{{- dict "values" .values "configMap" ($given | default $name) | toJson -}}
{{- end -}}

{{- /* The configuration file: as it is given, or the smallest one for an issuer, an audience and an upstream. */ -}}
{{- define "bearward.toml" -}}
{{- $values := .values -}}
{{- $few := dict "issuer" $values.issuer "audience" $values.audience "upstream" $values.upstream -}}
{{- $given := list -}}
{{- $missing := list -}}
{{- range $name, $value := $few -}}
  {{- if $value }}{{ $given = append $given $name }}{{ else }}{{ $missing = append $missing $name }}{{ end -}}
{{- end -}}
{{- if and $values.config $given -}}
  {{- fail (printf "\n\n`config` is the whole file, and %s would be a second one: leave that out, or write it into `config`.\n" (join ", " $given)) -}}
{{- else if $values.config -}}
  {{- include "bearward.given" $values -}}
{{- else if $missing -}}
  {{- fail (printf "\n\nNot set: %s. Set `issuer`, `audience` and `upstream`; or `config`, the whole file; or `existingConfigMap`.\n" (join ", " $missing)) -}}
{{- else -}}
  {{- include "bearward.smallest" $values -}}
{{- end -}}
{{- end -}}

{{- define "bearward.smallest" -}}
{{- if not (hasPrefix "https://" .issuer) -}}
  {{- fail (printf "\n\n`issuer` is %q: write the exact `iss` of its tokens, which begins with https://.\n" .issuer) -}}
{{- end -}}
[server]
listen = "0.0.0.0:{{ .ports.http }}"

[admin]
listen = "0.0.0.0:{{ .ports.admin }}"

[issuers.main]
issuer = {{ toJson .issuer }}
dialect = {{ toJson .dialect }}

[issuers.main.jwks]
snapshot = "/var/cache/bearward/keys/main.jwks"

[[routes]]
path = "/*"
upstream = {{ toJson .upstream }}
policy = { audience = {{ kindIs "string" .audience | ternary (list .audience) .audience | toJson }} }
{{ end -}}

{{- /* What a given file says, as JSON, where it is of the shape that the chart must look into; `check` tells all else. */ -}}
{{- define "bearward.file" -}}
{{- $file := fromToml . -}}
{{- with $file.Error }}{{ fail (printf "\n\n`config` is no TOML: %s.\n" .) }}{{ end -}}
{{- range $name := list "server" "admin" "sessions" "store" -}}
  {{- if not (kindIs "map" (get $file $name | default dict)) -}}
    {{- fail (printf "\n\nIn `config`, %s is no table: write its options beneath [%s].\n" $name $name) -}}
  {{- end -}}
{{- end -}}
{{- if and (hasKey $file "admin") (not (dig "admin" "listen" "" $file)) -}}
  {{- fail "\n\nIn `config`, [admin] has no `listen`: leave [admin] out, or write `listen = \"0.0.0.0:9901\"` beneath it.\n" -}}
{{- end -}}
{{- range $name := list "server" "admin" -}}
  {{- $addresses := dig $name "listen" list $file -}}
  {{- range $address := kindIs "slice" $addresses | ternary $addresses (list $addresses) -}}
    {{- if not (kindIs "string" $address) -}}
      {{- fail (printf "\n\nIn `config`, %s.listen is no address: write one such as \"0.0.0.0:8080\".\n" $name) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toJson $file -}}
{{- end -}}

{{- /* A given file, and the address for probes and scrapes, where the file leaves that open. */ -}}
{{- define "bearward.given" -}}
{{- $file := include "bearward.file" .config | fromJson -}}
{{- $admin := dig "admin" "listen" "" $file -}}
{{- $http := dig "server" "listen" (printf "0.0.0.0:%v" 8080) $file -}}
{{- if kindIs "string" $http }}{{ $http = list $http }}{{ end -}}
{{- include "bearward.reachable" (dict "address" $admin "option" "admin.listen" "port" .ports.admin "value" "ports.admin" "why" "probes and scrapes come from outside the pod") -}}
{{- $first := first $http -}}
{{- include "bearward.reachable" (dict "address" $first "option" "server.listen" "port" .ports.http "value" "ports.http" "why" "requests come from outside the pod") -}}
{{ trim .config }}
{{ if not $admin }}
[admin]
listen = "0.0.0.0:{{ .ports.admin }}"
{{ end -}}
{{- end -}}

{{- /* Refuses an address that the pod's ports do not lead to. */ -}}
{{- define "bearward.reachable" -}}
{{- if .address -}}
  {{- if regexMatch "^(127\\.|\\[::1\\]|localhost)" .address -}}
    {{- fail (printf "\n\nIn `config`, %s is %q, but %s: write \"0.0.0.0:%v\".\n" .option .address .why .port) -}}
  {{- end -}}
  {{- if not (hasSuffix (printf ":%v" .port) .address) -}}
    {{- fail (printf "\n\nIn `config`, %s is %q, but `%s` is %v: make them the same.\n" .option .address .value .port) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* What is the same in the container that serves and in the one that checks the file before it. */ -}}
{{- define "bearward.common" -}}
{{- with .values -}}
image: {{ with .image }}{{ .repository }}{{ with .digest }}@{{ . }}{{ else }}:{{ .tag }}{{ end }}{{ end }}
imagePullPolicy: {{ .image.pullPolicy }}
{{ with .extraEnv -}}
env:
  {{- toYaml . | nindent 2 }}
{{ end -}}
securityContext:
  {{- toYaml .securityContext | nindent 2 }}
resources:
  {{- toYaml .resources | nindent 2 }}
volumeMounts:
  # A whole directory: a `subPath` would never be updated.
  - name: bearward-config
    mountPath: /etc/bearward
    readOnly: true
  - name: bearward-cache
    mountPath: /var/cache/bearward
  {{- range .secrets }}
  - name: {{ include "bearward.secretVolume" . }}
    mountPath: /run/secrets/{{ . }}
    readOnly: true
  {{- end }}
  {{- with .volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "bearward.secretVolume" -}}
{{ printf "secret-%s" . | replace "." "-" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- /* Refuses a file that will not do before anything is served by it: `kubectl logs POD -c bearward-check` has the cure. */ -}}
{{- define "bearward.check" -}}
name: bearward-check
args: [check, --config, /etc/bearward/bearward.toml{{ if .values.check.online }}, --online{{ end }}]
{{ include "bearward.common" . }}
{{- end -}}

{{- define "bearward.container" -}}
name: bearward
args: [run, --config, /etc/bearward/bearward.toml]
{{ include "bearward.common" . }}
ports:
  - name: bearward
    containerPort: {{ .values.ports.http }}
  - name: bearward-admin
    containerPort: {{ .values.ports.admin }}
{{- with .values.startupProbe }}
startupProbe:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.readinessProbe }}
readinessProbe:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.livenessProbe }}
livenessProbe:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "bearward.volumes" -}}
- name: bearward-config
  configMap:
    name: {{ .configMap }}
# Snapshots of key sets outlive the container here.
- name: bearward-cache
  emptyDir:
    sizeLimit: 16Mi
{{- range .values.secrets }}
- name: {{ include "bearward.secretVolume" . }}
  secret:
    secretName: {{ . }}
    # 0440: a secret that everybody may read is refused.
    defaultMode: 288
{{- end }}
{{- with .values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
