package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	fluxengine "github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	fluxstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	fluxcel "github.com/fluxcd/pkg/runtime/cel"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

// verdict is what everybody says of one object. A message is what a person would read in the tool.
type verdict struct {
	Kstatus        string `json:"kstatus"`
	KstatusMessage string `json:"kstatusMessage"`
	// Argo CD with the usual script.
	Argocd        string `json:"argocd"`
	ArgocdMessage string `json:"argocdMessage"`
	// Argo CD with the strict script.
	Strict        string `json:"strict"`
	StrictMessage string `json:"strictMessage"`
	// Flux with healthCheckExprs.
	Flux        string `json:"flux"`
	FluxMessage string `json:"fluxMessage"`
}

// bench holds what a user gives the tools.
type bench struct {
	argocd, strict lua.ResourceHealthOverrides
	flux           fluxengine.StatusReader
}

func newBench(argocd, strict, flux string) (*bench, error) {
	usual, err := healthScripts(argocd)
	if err != nil {
		return nil, err
	}
	severe, err := healthScripts(strict)
	if err != nil {
		return nil, err
	}
	reader, err := healthExpressions(flux)
	if err != nil {
		return nil, err
	}
	return &bench{argocd: usual, strict: severe, flux: reader}, nil
}

func (b *bench) judge(object *unstructured.Unstructured) verdict {
	var v verdict
	v.Kstatus, v.KstatusMessage = byKstatus(object)
	v.Argocd, v.ArgocdMessage = byArgocd(object, b.argocd)
	v.Strict, v.StrictMessage = byArgocd(object, b.strict)
	v.Flux, v.FluxMessage = b.byFlux(object)
	return v
}

// byKstatus asks both the original and Flux's fork of it, which have to agree.
func byKstatus(object *unstructured.Unstructured) (string, string) {
	original, err := status.Compute(object.DeepCopy())
	if err != nil {
		return "Error", err.Error()
	}
	fork, err := fluxstatus.Compute(object.DeepCopy())
	if err != nil {
		return "Error", err.Error()
	}
	if original.Status.String() != fork.Status.String() {
		return "Error", fmt.Sprintf("kstatus says %s, Flux's fork %s", original.Status, fork.Status)
	}
	return original.Status.String(), original.Message
}

// byArgocd is what Argo CD's controller does for a live object: deletion first, then the script, which sees the
// libraries base, table, package and a safe os, and runs for at most a second.
func byArgocd(object *unstructured.Unstructured, scripts lua.ResourceHealthOverrides) (string, string) {
	found, err := health.GetResourceHealth(object.DeepCopy(), scripts)
	switch {
	case err != nil:
		return "Error", err.Error()
	case found == nil:
		return "None", "no health script for this kind"
	default:
		return string(found.Status), found.Message
	}
}

func (b *bench) byFlux(object *unstructured.Unstructured) (string, string) {
	found, err := b.flux.ReadStatusForObject(context.Background(), nil, object.DeepCopy())
	switch {
	case err != nil:
		return "Error", err.Error()
	case found.Error != nil:
		return found.Status.String(), found.Error.Error()
	default:
		return found.Status.String(), found.Message
	}
}

// healthScripts reads `resource.customizations.health.GROUP_KIND` of an argocd-cm.
func healthScripts(path string) (lua.ResourceHealthOverrides, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict(text, &configMap); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	scripts := lua.ResourceHealthOverrides{}
	for key, value := range configMap.Data {
		name, found := strings.CutPrefix(key, "resource.customizations.")
		if !found {
			continue
		}
		what, kind, _ := strings.Cut(name, ".")
		group, kind, found := strings.Cut(kind, "_")
		if !found {
			return nil, fmt.Errorf("%s: %s does not end in GROUP_KIND", path, key)
		}
		switch what {
		case "health":
			scripts[group+"/"+kind] = v1alpha1.ResourceOverride{HealthLua: value}
		case "ignoreResourceUpdates":
			var ignored v1alpha1.OverrideIgnoreDiff
			if err := yaml.UnmarshalStrict([]byte(value), &ignored); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, key, err)
			}
		default:
			return nil, fmt.Errorf("%s: %s is not known to Argo CD", path, key)
		}
	}
	return scripts, nil
}

// healthExpressions reads `spec.healthCheckExprs` of all Kustomizations of a file.
func healthExpressions(path string) (fluxengine.StatusReader, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all := kustomizev1.Kustomization{}
	for _, document := range strings.Split("\n"+string(text), "\n---\n") {
		var one kustomizev1.Kustomization
		if err := yaml.UnmarshalStrict([]byte(document), &one); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all.Spec.HealthCheckExprs = append(all.Spec.HealthCheckExprs, one.Spec.HealthCheckExprs...)
	}
	reader, err := fluxcel.NewStatusReader(all.Spec.HealthCheckExprs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return reader(nil), nil
}
