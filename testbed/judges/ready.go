package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	fluxcel "github.com/fluxcd/pkg/runtime/cel"
	celgo "github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// readiness is whether those that depend on an object may go on.
type readiness struct {
	Ready bool   `json:"ready"`
	Error string `json:"error,omitempty"`
}

// awaited is one dependency with an expression, of one object of Flux.
type awaited struct {
	kind, name string
	self       map[string]any
	expression *fluxcel.Expression
}

// readyExpressions reads `spec.dependsOn[].readyExpr` of all objects of a file.
func readyExpressions(path string) ([]awaited, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []awaited
	for _, document := range strings.Split("\n"+string(text), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		self, dependencies, err := typed(object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, dependency := range dependencies {
			if dependency.ReadyExpr == "" {
				continue
			}
			expression, err := readyExpression(dependency)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			all = append(all, awaited{object.GetKind(), dependency.Name, self, expression})
		}
	}
	return all, nil
}

// readyExpression compiles it as both controllers do.
func readyExpression(dependency meta.DependencyReference) (*fluxcel.Expression, error) {
	expression, err := fluxcel.NewExpression(dependency.ReadyExpr, fluxcel.WithCompile(),
		fluxcel.WithOutputType(celgo.BoolType), fluxcel.WithStructVariables("self", "dep"))
	if err != nil {
		return nil, fmt.Errorf("readyExpr for %s: %w", dependency.Name, err)
	}
	return expression, nil
}

// judgeReady evaluates the expressions about an object: it is ready when all of them say so.
func judgeReady(all []awaited, object *unstructured.Unstructured) readiness {
	dep, _, err := typed(object)
	if err != nil {
		return readiness{Error: err.Error()}
	}
	asked := false
	for _, one := range all {
		if one.kind != object.GetKind() || one.name != object.GetName() {
			continue
		}
		asked = true
		ready, err := one.expression.EvaluateBoolean(context.Background(), map[string]any{"self": one.self, "dep": dep})
		if err != nil {
			return readiness{Error: err.Error()}
		}
		if !ready {
			return readiness{}
		}
	}
	if !asked {
		return readiness{Error: "nothing asks about " + object.GetName()}
	}
	return readiness{Ready: true}
}

// typed is an object as the controllers see it in expressions: by way of their Go types, with the fields that those write
// always. Of other kinds it is nil.
func typed(object *unstructured.Unstructured) (map[string]any, []meta.DependencyReference, error) {
	text, err := json.Marshal(object.Object)
	if err != nil {
		return nil, nil, err
	}
	switch object.GetKind() {
	case kustomizev1.KustomizationKind:
		var kustomization kustomizev1.Kustomization
		if err := json.Unmarshal(text, &kustomization); err != nil {
			return nil, nil, err
		}
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&kustomization)
		return fields, kustomization.Spec.DependsOn, err
	case helmv2.HelmReleaseKind:
		var release helmv2.HelmRelease
		if err := json.Unmarshal(text, &release); err != nil {
			return nil, nil, err
		}
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&release)
		return fields, release.Spec.DependsOn, err
	case "":
		return nil, nil, errors.New("an object without a kind")
	default:
		return nil, nil, nil
	}
}
