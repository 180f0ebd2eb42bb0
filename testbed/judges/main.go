// judges says of Kubernetes objects what GitOps tools would say of them, by those tools' own code:
//
//	applications  what an ApplicationSet makes of each cluster's Secret on stdin
//	health        kstatus, Argo CD and Flux on the health of each object on stdin (JSON, one a line)
//	manifests     whether each object on stdin is a valid object of Argo CD or Flux
//	ready         whether those in a file that depend on each object on stdin take it for ready, by their readyExpr
//	upstream      the health tests of a folder in the layout of Argo CD's resource_customizations
//
// It reads files and stdin, writes JSON lines to stdout, and knows no cluster.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const usage = `usage:
  judges applications APPLICATIONSET < SECRETS
  judges health -argocd CONFIGMAP -strict CONFIGMAP -flux KUSTOMIZATION < OBJECTS
  judges manifests < OBJECTS
  judges ready FILE < OBJECTS
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
	case "upstream":
		if len(args) != 2 {
			return errors.New(usage)
		}
		return upstream(args[1], os.Stdout)
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}

// each answers every object on `in`, one a line, with one line on `out`.
func each[T any](in io.Reader, out io.Writer, answer func(*unstructured.Unstructured) T) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		object := &unstructured.Unstructured{}
		// Numbers as the tools have them: int64 where they are whole.
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return fmt.Errorf("an object on stdin: %w", err)
		}
		if err := write(out, answer(object)); err != nil {
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
