package main

import (
	"fmt"
	"os"

	"github.com/argoproj/argo-cd/v3/applicationset/utils"
	"github.com/argoproj/argo-cd/v3/common"
	argocd "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// product is what an ApplicationSet makes of one cluster: an Application, or nothing.
type product struct {
	Application *argocd.Application `json:"application,omitempty"`
	Error       string              `json:"error,omitempty"`
}

// clusterSet is an ApplicationSet whose one generator goes through Argo CD's clusters.
type clusterSet struct {
	spec     argocd.ApplicationSetSpec
	selector labels.Selector
}

func newClusterSet(path string) (*clusterSet, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var set argocd.ApplicationSet
	if err := yaml.UnmarshalStrict(text, &set); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(set.Spec.Generators) != 1 || set.Spec.Generators[0].Clusters == nil {
		return nil, fmt.Errorf("%s: not one generator for clusters", path)
	}
	// A cluster's Secret is known by this label.
	selector := metav1.AddLabelToSelector(&set.Spec.Generators[0].Clusters.Selector,
		common.LabelKeySecretType, common.LabelValueSecretTypeCluster)
	matches, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &clusterSet{set.Spec, matches}, nil
}

// make renders the template with the parameters that the generator gives for a Secret. Argo CD's own generator comes with
// the clients of all Git forges, so that these parameters are made here; the renderer is Argo CD's.
func (s *clusterSet) make(object *unstructured.Unstructured) product {
	var secret corev1.Secret
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &secret); err != nil {
		return product{Error: err.Error()}
	}
	if !s.selector.Matches(labels.Set(secret.Labels)) {
		return product{}
	}
	if !s.spec.GoTemplate {
		return product{Error: "only Go templates are known here"}
	}
	name := string(secret.Data["name"])
	parameters := map[string]any{
		"name":           name,
		"nameNormalized": utils.SanitizeName(name),
		"server":         string(secret.Data["server"]),
		"project":        string(secret.Data["project"]),
		"metadata":       map[string]any{"labels": secret.Labels, "annotations": secret.Annotations},
	}
	template := argocd.Application{Spec: s.spec.Template.Spec}
	template.Name = s.spec.Template.Name
	template.Namespace = s.spec.Template.Namespace
	template.Labels = s.spec.Template.Labels
	template.Annotations = s.spec.Template.Annotations
	template.Finalizers = s.spec.Template.Finalizers
	render := utils.Render{}
	application, err := render.RenderTemplateParams(&template, s.spec.SyncPolicy, parameters, true, s.spec.GoTemplateOptions)
	if err != nil {
		return product{Error: err.Error()}
	}
	return product{Application: application}
}
