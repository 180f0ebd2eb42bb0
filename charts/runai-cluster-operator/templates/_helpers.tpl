{{/* A text, at most so long; where it is cut there may be any number of characters that no name may end in. */}}
{{- define "operator.cut" -}}
{{- regexReplaceAll "[-._]+$" (trunc (int .length) .text) "" -}}
{{- end -}}

{{/* Name of the chart, for labels. */}}
{{- define "operator.name" -}}
{{- include "operator.cut" (dict "text" (default .Chart.Name .Values.nameOverride) "length" 63) -}}
{{- end -}}

{{/* Base of object names. At most 46 characters, so that every suffix still fits into 63. */}}
{{- define "operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $base := .Values.fullnameOverride -}}
{{- if not $base -}}
{{- $base = contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- end -}}
{{- /* The name of a release may hold dots, that of a Service may not. */}}
{{- include "operator.cut" (dict "text" (replace "." "-" $base) "length" 46) -}}
{{- end -}}

{{/* Namespace of the operator. */}}
{{- define "operator.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* Labels that select the pods. They never change. */}}
{{- define "operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of every object; an object's own labels come as "extra", and go first. */}}
{{- define "operator.labels" -}}
{{- $root := .root | default . -}}
{{- $labels := dict
      "helm.sh/chart" (include "operator.cut" (dict "length" 63 "text" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_")))
      "app.kubernetes.io/version" $root.Chart.AppVersion
      "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $labels = merge (dict) (.extra | default dict) $labels (include "operator.selectorLabels" $root | fromYaml) $root.Values.commonLabels -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Name of the service account. */}}
{{- define "operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The operator's account, as the subject of a binding. */}}
{{- define "operator.subject" -}}
kind: ServiceAccount
name: {{ include "operator.serviceAccountName" . }}
namespace: {{ include "operator.namespace" . }}
{{- end -}}

{{/* The image, with a digest where one is given. */}}
{{- define "operator.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- $repository := .Values.image.repository -}}
{{- if $registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository -}}
{{- end -}}
{{- $image := printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- if .Values.image.digest -}}
{{- $image = printf "%s@%s" $image .Values.image.digest -}}
{{- end -}}
{{- $image -}}
{{- end -}}

{{/* Pull secrets of the chart and of its parent, each once. */}}
{{- define "operator.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat .Values.imagePullSecrets .Values.global.imagePullSecrets -}}
{{- $names = append $names (kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") .) -}}
{{- end -}}
{{- range $names | uniq }}
- name: {{ . | quote }}
{{- end -}}
{{- end -}}

{{/*
The RunaiControlPlane "default" of the values, or nothing. Refuses values that contradict each other.
*/}}
{{- define "operator.controlPlane" -}}
{{- $plane := .Values.controlPlane -}}
{{- $trial := or $plane.url $plane.clientID $plane.clientSecret -}}
{{- $ca := .Values.customCA -}}
{{- if and $plane.existingSecret $trial -}}
{{- fail "controlPlane: set existingSecret, or url, clientID and clientSecret, not both" -}}
{{- end -}}
{{- if and $trial (not (and $plane.url $plane.clientID $plane.clientSecret)) -}}
{{- fail "controlPlane: a trial needs url, clientID and clientSecret, all three" -}}
{{- end -}}
{{- if and $ca.secretName $ca.configMapName -}}
{{- fail "customCA: set secretName or configMapName, not both" -}}
{{- end -}}
{{- $hasCA := or $ca.secretName $ca.configMapName -}}
{{- if or $plane.existingSecret $trial -}}
{{- $spec := dict "connectionSecretRef" (dict "name" (include "operator.connectionSecret" .)) -}}
{{- if $hasCA -}}
{{- $kind := empty $ca.secretName | ternary "ConfigMap" "Secret" -}}
{{- $_ := set $spec "caBundleRef" (dict "kind" $kind "name" (or $ca.secretName $ca.configMapName) "key" $ca.key) -}}
{{- end -}}
{{- range list "connectionSecretRef" "caBundleRef" -}}
{{- if hasKey $plane.spec . -}}
{{- fail (printf "controlPlane.spec: %s comes from %s" . (eq . "caBundleRef" | ternary "customCA" "controlPlane.existingSecret, or from the trial's values")) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict
      "apiVersion" "runai-operator.io/v1alpha1" "kind" "RunaiControlPlane"
      "metadata" (dict "name" "default") "spec" (merge (dict) $spec $plane.spec)) -}}
{{- else if or $hasCA $plane.spec -}}
{{- fail "customCA and controlPlane.spec are about the control plane of these values: set controlPlane.existingSecret too, or write them into your own RunaiControlPlane" -}}
{{- end -}}
{{- end -}}

{{/* Name of the Secret that leads to it. */}}
{{- define "operator.connectionSecret" -}}
{{- default (printf "%s-connection" (include "operator.fullname" .)) .Values.controlPlane.existingSecret -}}
{{- end -}}

{{/* Label job of the operator's series. */}}
{{- define "operator.job" -}}
{{- default (include "operator.fullname" .) .Values.prometheusRule.job -}}
{{- end -}}
