{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- /* SPDX-FileCopyrightText: The Drydock authors */ -}}

{{- /* Labels of all objects but pods; the argument is the component. */ -}}
{{- define "drydock.labels" -}}
app.kubernetes.io/component: {{ . }}
app.kubernetes.io/managed-by: brupop
app.kubernetes.io/part-of: brupop
brupop.bottlerocket.aws/component: {{ . }}
{{- end }}

{{- /* Labels of pods; the arguments are the root and the component. The first is the immutable selector. */ -}}
{{- define "drydock.podLabels" -}}
brupop.bottlerocket.aws/component: {{ index . 1 }}
{{- with (index . 0).Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Annotations of pods; the argument is the root. */ -}}
{{- define "drydock.podAnnotations" -}}
{{- with .Values.podAnnotations }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- /* Annotations of what runs after an uninstallation; the argument is the weight: less comes first. */ -}}
{{- define "drydock.uninstallHook" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- /* "yes" when this release installs the definition: asked to, and no other release has it. */ -}}
{{- define "drydock.ownsDefinition" -}}
{{- if .Values.crds.install }}
{{- if or .Values.crds.adopt (not (include "drydock.definitionOwner" .)) }}yes{{ end }}
{{- end }}
{{- end }}

{{- /* The other release, as namespace/name, that the cluster's definition belongs to; empty without one. */ -}}
{{- define "drydock.definitionOwner" -}}
{{- $live := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "bottlerocketshadows.brupop.bottlerocket.aws" | default dict }}
{{- $name := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $live }}
{{- $namespace := dig "metadata" "annotations" "meta.helm.sh/release-namespace" "" $live }}
{{- if and $name (or (ne $name .Release.Name) (ne $namespace .Release.Namespace)) }}
{{- printf "%s/%s" $namespace $name }}
{{- end }}
{{- end }}

{{- /* Secrets of the certificates, by who makes them. */ -}}
{{- define "drydock.serverSecret" -}}
{{ if eq .Values.tls.mode "secret" }}{{ .Values.tls.secret.server }}{{ else }}brupop-apiserver-certificate{{ end }}
{{- end }}
{{- define "drydock.clientSecret" -}}
{{ if eq .Values.tls.mode "secret" }}{{ .Values.tls.secret.client }}{{ else }}brupop-apiserver-client-certificate{{ end }}
{{- end }}

{{- /* A number, or the text of one. One of a values file is a floating-point number, which would print as 1e+06. */ -}}
{{- define "drydock.number" -}}
{{ if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "drydock.image" -}}
{{ .Values.image | default (printf "ghcr.io/drydock-os/drydock:v%s" .Chart.AppVersion) }}
{{- end }}

{{- /* A list, or the text of one, as older values files have it. */ -}}
{{- define "drydock.imagePullSecrets" -}}
{{- $secrets := .Values.image_pull_secrets -}}
{{- if kindIs "string" $secrets }}{{ $secrets = fromYamlArray $secrets }}{{ end -}}
{{- with $secrets -}}
imagePullSecrets:
{{ toYaml . | indent 2 }}
{{- end }}
{{- end }}

{{- /* Nodes that the image runs on, as match expressions. */ -}}
{{- define "drydock.platforms" -}}
- key: kubernetes.io/os
  operator: In
  values: [linux]
- key: kubernetes.io/arch
  operator: In
  values: [amd64, arm64]
{{- end }}

{{- /* Logging of a component; the arguments are the root and the filter. */ -}}
{{- define "drydock.loggingEnv" -}}
{{- $root := index . 0 -}}
- name: LOGGING_FORMATTER
  value: {{ $root.Values.logging.formatter | quote }}
- name: LOGGING_ANSI_ENABLED
  value: {{ $root.Values.logging.ansi_enabled | quote }}
- name: TRACING_FILTER_DIRECTIVE
  value: {{ index . 1 | quote }}
{{- end }}

{{- /* Levels of the log that go before the filter, and may change while the program runs. */ -}}
{{- define "drydock.levelsMount" -}}
- name: log-levels
  mountPath: /etc/drydock/logging
  readOnly: true
{{- end }}

{{- define "drydock.levelsVolume" -}}
- name: log-levels
  configMap:
    name: drydock-logging
    optional: true
{{- end }}

{{- define "drydock.nodeNameEnv" -}}
- name: MY_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- end }}

{{- define "drydock.namespaceEnv" -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end }}

{{- /* Security of the pods that talk to Kubernetes only. */ -}}
{{- define "drydock.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "drydock.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Where a role of the cluster goes; the arguments are its placement and what to affine. */ -}}
{{- define "drydock.placement" -}}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            {{- include "drydock.platforms" . | nindent 12 }}
  {{- with .podAffinity }}
  podAffinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .podAntiAffinity }}
  podAntiAffinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
