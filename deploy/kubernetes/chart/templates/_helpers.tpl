{{/* What all objects are called after. */}}
{{- define "rechka.name" -}}
{{- if gt (len .Release.Name) 20 -}}
{{- fail (printf "the release's name %q is too long: names of objects begin with it, so take at most 20 characters" .Release.Name) -}}
{{- end -}}
{{- .Release.Name -}}
{{- end -}}

{{/* Labels that tell a component's pods from all others: dict "root" $ "component" NAME. */}}
{{- define "rechka.selector" -}}
app.kubernetes.io/name: rechka
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .pipeline }}
rechka/pipeline: {{ . }}
{{- end }}
{{- end -}}

{{/* The same and what is good to know. */}}
{{- define "rechka.labels" -}}
{{ include "rechka.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: rechka
{{- end -}}

{{/* Pods that use the log. */}}
{{- define "rechka.clients" -}}
matchLabels:
  app.kubernetes.io/name: rechka
  app.kubernetes.io/instance: {{ .Release.Name }}
matchExpressions:
  - { key: app.kubernetes.io/component, operator: In, values: [gateway, worker] }
{{- end -}}

{{- define "rechka.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* Addresses of the brokers, for those in this namespace. */}}
{{- define "rechka.brokers" -}}
{{- if .Values.kafka.enabled -}}
{{ include "rechka.name" . }}-kafka:9092
{{- else -}}
{{- join "," .Values.externalKafka.brokers -}}
{{- end -}}
{{- end -}}

{{/* The log, as --log names it. */}}
{{- define "rechka.log" -}}
{{- $settings := list -}}
{{- if not .Values.kafka.enabled -}}
{{- range $name, $value := .Values.externalKafka.settings -}}
{{- $settings = append $settings (printf "%s=%v" $name $value) -}}
{{- end -}}
{{- end -}}
kafka://{{ include "rechka.brokers" . }}{{ with $settings }}?{{ join "&" . }}{{ end }}
{{- end -}}

{{/* The Secret whose files say who the clients are, if there is one. */}}
{{- define "rechka.credentials" -}}
{{- if not .Values.kafka.enabled -}}{{ .Values.externalKafka.secret }}{{- end -}}
{{- end -}}

{{/* The addresses for those in other namespaces. */}}
{{- define "rechka.brokers.outside" -}}
{{- if .Values.kafka.enabled -}}
{{ include "rechka.name" . }}-kafka.{{ .Release.Namespace }}.svc:9092
{{- else -}}
{{- join "," .Values.externalKafka.brokers -}}
{{- end -}}
{{- end -}}

{{/* What a pod's processes may be: the profile "restricted" of the Pod Security Standards. */}}
{{- define "rechka.security.pod" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "rechka.security.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* How gateways and workers are asked whether they live and whether they can work. */}}
{{- define "rechka.probes" -}}
startupProbe: # a model is loaded, state comes back from its changelog: ten minutes
  httpGet: { path: /healthz, port: http }
  periodSeconds: 5
  failureThreshold: 120
livenessProbe:
  httpGet: { path: /healthz, port: http }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: http }
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

{{- define "rechka.environment" -}}
env:
  - { name: XDG_CACHE_HOME, value: /var/cache/rechka }
  {{- range $name, $value := .Values.environment }}
  - { name: {{ $name }}, value: {{ $value | quote }} }
  {{- end }}
{{- with .Values.environmentSecret }}
envFrom:
  - secretRef: { name: {{ . }} }
{{- end }}
{{- end -}}

{{- define "rechka.scrape" -}}
{{- if .Values.prometheus.annotations -}}
prometheus.io/scrape: "true"
prometheus.io/port: "8080"
prometheus.io/path: /metrics
{{- end -}}
{{- end -}}

{{/* Pods of a component on different nodes and zones, where there are some. */}}
{{- define "rechka.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "rechka.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* A claim of a volume: dict "name" "size" "storageClass". */}}
{{- define "rechka.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests: { storage: {{ .size }} }
{{- end -}}
