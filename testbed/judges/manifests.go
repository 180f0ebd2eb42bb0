package main

import (
	"encoding/json"
	"errors"

	argocd "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/apis/meta"
	fluxcel "github.com/fluxcd/pkg/runtime/cel"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// finding is what is to be said of one manifest; without an error it is a valid object of a tool.
type finding struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Error string `json:"error,omitempty"`
}

func checkManifest(object *unstructured.Unstructured) finding {
	found := finding{Kind: object.GetKind(), Name: object.GetName()}
	if err := decode(object); err != nil {
		found.Error = err.Error()
	}
	return found
}

// decode reads the object into the tool's own Go type. Unknown fields are errors, expressions have to compile.
func decode(object *unstructured.Unstructured) error {
	text, err := json.Marshal(object.Object)
	if err != nil {
		return err
	}
	gvk := object.GroupVersionKind()
	switch gvk.GroupVersion().String() + " " + gvk.Kind {
	case "argoproj.io/v1alpha1 Application":
		return yaml.UnmarshalStrict(text, &argocd.Application{})
	case "argoproj.io/v1alpha1 ApplicationSet":
		return yaml.UnmarshalStrict(text, &argocd.ApplicationSet{})
	case "argoproj.io/v1alpha1 AppProject":
		return yaml.UnmarshalStrict(text, &argocd.AppProject{})
	case "kustomize.toolkit.fluxcd.io/v1 Kustomization":
		var k kustomizev1.Kustomization
		if err := yaml.UnmarshalStrict(text, &k); err != nil {
			return err
		}
		return checkExpressions(k.Spec.HealthCheckExprs, k.Spec.DependsOn)
	case "helm.toolkit.fluxcd.io/v2 HelmRelease":
		var release helmv2.HelmRelease
		if err := yaml.UnmarshalStrict(text, &release); err != nil {
			return err
		}
		return checkExpressions(release.Spec.HealthCheckExprs, release.Spec.DependsOn)
	case "source.toolkit.fluxcd.io/v1 HelmRepository":
		return yaml.UnmarshalStrict(text, &sourcev1.HelmRepository{})
	case "source.toolkit.fluxcd.io/v1 OCIRepository":
		return yaml.UnmarshalStrict(text, &sourcev1.OCIRepository{})
	case "source.toolkit.fluxcd.io/v1 GitRepository":
		return yaml.UnmarshalStrict(text, &sourcev1.GitRepository{})
	default:
		return errors.New("neither Argo CD nor Flux has this kind: " + gvk.String())
	}
}

func checkExpressions(checks []kustomize.CustomHealthCheck, dependencies []meta.DependencyReference) error {
	if _, err := fluxcel.NewStatusReader(checks); err != nil {
		return err
	}
	for _, dependency := range dependencies {
		if dependency.ReadyExpr == "" {
			continue
		}
		if _, err := readyExpression(dependency); err != nil {
			return err
		}
	}
	return nil
}
