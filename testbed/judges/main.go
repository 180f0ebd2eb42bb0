// judges says of Kubernetes objects what GitOps tools would say of them, by those tools' own code:
//
//	applications  what an ApplicationSet makes of each cluster's Secret on stdin
//	health        kstatus, Argo CD and Flux on the health of each object on stdin (JSON, one a line)
//	manifests     whether each object on stdin is a valid object of Argo CD or Flux
//	ready         whether those in a file that depend on each object on stdin take it for ready, by their readyExpr
//	sync          what a sync of the objects on stdin by Argo CD's engine does to a cluster
//	upstream      the health tests of a folder in the layout of Argo CD's resource_customizations
//
// It reads files and stdin, writes JSON lines to stdout, and knows no cluster but for sync.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const usage = `usage:
  judges applications APPLICATIONSET < SECRETS
  judges health -argocd CONFIGMAP -strict CONFIGMAP -flux KUSTOMIZATION < OBJECTS
  judges manifests < OBJECTS
  judges ready FILE < OBJECTS
  judges sync -argocd CONFIGMAP -kubeconfig FILE [-confirmed] [-timeout DURATION] < OBJECTS
  judges upstream FOLDER`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "judges:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case "applications":
		if len(args) != 2 {
			return errors.New(usage)
		}
		set, err := newClusterSet(args[1])
		if err != nil {
			return err
		}
		return each(os.Stdin, os.Stdout, set.make)
	case "health":
		argocd := flags.String("argocd", "", "argocd-cm with the health scripts")
		strict := flags.String("strict", "", "the same with the strict scripts")
		flux := flags.String("flux", "", "Flux Kustomizations with healthCheckExprs")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		bench, err := newBench(*argocd, *strict, *flux)
		if err != nil {
			return err
		}
		return each(os.Stdin, os.Stdout, bench.judge)
	case "manifests":
		return each(os.Stdin, os.Stdout, checkManifest)
	case "ready":
		if len(args) != 2 {
			return errors.New(usage)
		}
		all, err := readyExpressions(args[1])
		if err != nil {
			return err
		}
		return each(os.Stdin, os.Stdout, func(object *unstructured.Unstructured) readiness { return judgeReady(all, object) })
	case "sync":
		argocd := flags.String("argocd", "", "argocd-cm with the health scripts")
		kubeconfig := flags.String("kubeconfig", "", "the cluster")
		confirmed := flags.Bool("confirmed", false, "a person has confirmed what is pruned")
		timeout := flags.Duration("timeout", 3*time.Minute, "how long it may take")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), *timeout)
		defer cancel()
		return synchronize(ctx, os.Stdin, os.Stdout, *kubeconfig, *argocd, *confirmed)
	case "upstream":
		if len(args) != 2 {
			return errors.New(usage)
		}
		return upstream(args[1], os.Stdout)
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}

// each answers every object on `in` with one line on `out`.
func each[T any](in io.Reader, out io.Writer, answer func(*unstructured.Unstructured) T) error {
	return objects(in, func(object *unstructured.Unstructured) error { return write(out, answer(object)) })
}

// objects takes those on `in`, one a line.
func objects(in io.Reader, take func(*unstructured.Unstructured) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		object := &unstructured.Unstructured{}
		// Numbers as the tools have them: int64 where they are whole.
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return fmt.Errorf("an object on stdin: %w", err)
		}
		if err := take(object); err != nil {
			return err
		}
	}
	return lines.Err()
}

// write puts an answer on a line of `out`.
func write(out io.Writer, answer any) error {
	line, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}
