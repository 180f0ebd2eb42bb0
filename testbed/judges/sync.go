package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/cache"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync/common"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/tracing"
	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// tracking is the annotation by which Argo CD knows its own, as `APPLICATION:GROUP/KIND:NAMESPACE/NAME`.
	tracking    = "argocd.argoproj.io/tracking-id"
	application = "runai-clusters"
	// manager is the name under which Argo CD writes.
	manager = "argocd-controller"
	// pause is how long it waits between two looks.
	pause = 300 * time.Millisecond
)

// synced is what became of one object.
type synced struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Status  string `json:"status"`
	Phase   string `json:"phase"`
	Message string `json:"message"`
}

// synchronize does one sync of an Application with these objects by Argo CD's engine, with a user's health scripts: wave by
// wave, each when the one before is healthy, and prunes what is not among them. It answers with what became of each, also
// when the time is up before all is done, which is an error.
func synchronize(ctx context.Context, in io.Reader, out io.Writer, kubeconfig, argocd string, confirmed bool) error {
	scripts, err := healthScripts(argocd)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	var targets []*unstructured.Unstructured
	if err := objects(in, func(object *unstructured.Unstructured) error {
		track(object)
		targets = append(targets, object)
		return nil
	}); err != nil {
		return err
	}

	live := cache.NewClusterCache(config, cache.SetLogr(logr.Discard()),
		cache.SetPopulateResourceInfoHandler(func(object *unstructured.Unstructured, _ bool) (any, bool) {
			owner, _, found := strings.Cut(object.GetAnnotations()[tracking], ":")
			return owner, found
		}))
	if err := live.EnsureSynced(); err != nil {
		return err
	}
	defer live.Invalidate()
	// As Argo CD's controller does it: each look begins from what is live and from what the sync has come to.
	ours := func(found *cache.Resource) bool { return found.Info == application }
	kubectl := &kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}}
	var (
		phase   common.OperationPhase
		message string
		results []common.ResourceSyncResult
		started = metav1.Now()
	)
	for !phase.Completed() && ctx.Err() == nil {
		managed, err := live.GetManagedLiveObjs(targets, ours)
		if err != nil {
			return err
		}
		step, cleanup, err := sync.NewSyncContext(
			"HEAD", sync.Reconcile(targets, managed, "", live), config, config, kubectl, "",
			sync.WithInitialState(phase, message, results, started), sync.WithHealthOverride(scripts),
			sync.WithPrune(true), sync.WithPruneConfirmed(confirmed),
			sync.WithServerSideApply(true), sync.WithServerSideApplyManager(manager), sync.WithLogr(logr.Discard()),
		)
		if err != nil {
			return err
		}
		step.Sync()
		phase, message, results = step.GetState()
		cleanup()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	for _, result := range results {
		answer := synced{
			Kind: result.ResourceKey.Kind, Name: result.ResourceKey.Name,
			Status: string(result.Status), Phase: string(result.HookPhase), Message: result.Message,
		}
		if err := write(out, answer); err != nil {
			return err
		}
	}
	if phase == common.OperationError {
		return errors.New(message)
	}
	return ctx.Err()
}

func track(object *unstructured.Unstructured) {
	key := kube.GetResourceKey(object)
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[tracking] = fmt.Sprintf("%s:%s/%s:%s/%s", application, key.Group, key.Kind, key.Namespace, key.Name)
	object.SetAnnotations(annotations)
}
