package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// healthTests is a health_test.yaml.
type healthTests struct {
	Tests []struct {
		InputPath    string              `json:"inputPath"`
		HealthStatus health.HealthStatus `json:"healthStatus"`
	} `json:"tests"`
}

// outcome is one test of a health_test.yaml.
type outcome struct {
	Test     string              `json:"test"`
	Expected health.HealthStatus `json:"expected"`
	Found    health.HealthStatus `json:"found"`
}

// upstream runs every health_test.yaml below folder as Argo CD's own TestLuaHealthScript does, but for one thing: the
// script gets the few libraries of a user's script, not the many of a built-in one.
func upstream(folder string, out io.Writer) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "health.lua" {
			return err
		}
		script, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var tests healthTests
		if err := read(filepath.Join(filepath.Dir(path), "health_test.yaml"), &tests); err != nil {
			return err
		}
		for _, test := range tests.Tests {
			input := filepath.Join(filepath.Dir(path), test.InputPath)
			object := map[string]any{}
			if err := read(input, &object); err != nil {
				return err
			}
			found, err := lua.VM{}.ExecuteHealthLua(&unstructured.Unstructured{Object: object}, string(script))
			if err != nil {
				return fmt.Errorf("%s: %w", input, err)
			}
			if err := write(out, outcome{Test: input, Expected: test.HealthStatus, Found: *found}); err != nil {
				return err
			}
		}
		return nil
	})
}

func read(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
