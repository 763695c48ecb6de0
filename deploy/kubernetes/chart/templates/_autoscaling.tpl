{{/* Scales pods that read the log: dict "root" $ "labels" DICT "kind" KIND "name" NAME "settings" (replicas, autoscaling). */}}
{{- define "rechka.autoscaling" -}}
{{- $scaling := .settings.autoscaling }}
{{- $target := printf "{ apiVersion: apps/v1, kind: %s, name: %s }" .kind .name }}
{{- if eq $scaling.kind "hpa" }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  labels: {{- include "rechka.labels" .labels | nindent 4 }}
spec:
  scaleTargetRef: {{ $target }}
  minReplicas: {{ .settings.replicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  behavior: {{- include "rechka.autoscaling.behavior" . | nindent 4 }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: { type: Utilization, averageUtilization: {{ $scaling.cpuUtilization | default 70 }} }
    {{- with $scaling.lagMetric }}
    - type: Pods
      pods:
        metric: { name: rechka_query_lag_records }
        target: { type: AverageValue, averageValue: {{ . | quote }} }
    {{- end }}
{{- else if eq $scaling.kind "keda" }}
{{- if not $scaling.lag }}
{{- fail (print .name ": autoscaling by keda needs autoscaling.lag, which names groups and their topics") }}
{{- end }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .name }}
  labels: {{- include "rechka.labels" .labels | nindent 4 }}
spec:
  scaleTargetRef: {{ $target }}
  minReplicaCount: {{ .settings.replicas }}
  maxReplicaCount: {{ $scaling.maxReplicas }}
  pollingInterval: 15
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {{- include "rechka.autoscaling.behavior" . | nindent 8 }}
  triggers:
    {{- range $scaling.lag }}
    - type: kafka
      metadata:
        bootstrapServers: {{ include "rechka.brokers.outside" $.root }}
        consumerGroup: {{ .group }}
        topic: {{ .topic }}
        lagThreshold: {{ .records | quote }}
        offsetResetPolicy: earliest
      {{- with $.root.Values.keda.authentication }}
      authenticationRef: { name: {{ . }} }
      {{- end }}
    {{- end }}
{{- end }}
{{- end -}}

{{/* Up at once, down one at a time: each time partitions and their state move. */}}
{{- define "rechka.autoscaling.behavior" -}}
scaleUp:
  stabilizationWindowSeconds: 30
  policies: [{ type: Pods, value: 2, periodSeconds: 60 }]
scaleDown:
  stabilizationWindowSeconds: 300
  policies: [{ type: Pods, value: 1, periodSeconds: 120 }]
{{- end -}}

{{/* "yes" where KEDA scales something. */}}
{{- define "rechka.keda" -}}
{{- $kinds := list .Values.workers.autoscaling.kind }}
{{- if .Values.gateway.enabled }}
{{- $kinds = append $kinds .Values.gateway.autoscaling.kind }}
{{- end }}
{{- range .Values.pipelines }}
{{- $kinds = append $kinds (dig "autoscaling" "kind" "" .) }}
{{- end }}
{{- if has "keda" $kinds }}yes{{ end }}
{{- end -}}
