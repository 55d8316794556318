// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/tuf"
)

// newRepoCmd returns 'imgtool repo'.
func newRepoCmd(stdout io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "repo",
		Short: "Make and fill signed update repositories",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return withUsage(c, cli.Usagef("no command given")) },
	}
	c.AddCommand(newRepoInitCmd(stdout), newRepoPublishCmd(stdout))
	return c
}

// repoOptions are the flags that all commands on a repository have.
type repoOptions struct{ repo, keys, output string }

func (o *repoOptions) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.repo, "repo", "", "`folder` of the repository; what a web server serves (required)")
	f.StringVar(&o.keys, "keys", "", "`folder` of the private keys; never publish it (required)")
	f.StringVar(&o.output, "output", "text", "`form` of the report on stdout: text or json")
}

func (o *repoOptions) check() error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("--output %q is neither text nor json", o.output)
	}
	if o.repo == "" || o.keys == "" {
		return errors.New("--repo and --keys are required")
	}
	inside, err := filepath.Rel(o.repo, o.keys)
	if err == nil && inside != ".." && !strings.HasPrefix(inside, ".."+string(filepath.Separator)) {
		return fmt.Errorf("--keys %s is inside the repository, which is published", o.keys)
	}
	return nil
}

// report prints v as JSON, or lets text print it.
func (o *repoOptions) report(w io.Writer, v any, text string) error {
	if o.output == "text" {
		_, err := io.WriteString(w, text)
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// repoInitReport is what --output json of 'repo init' prints.
type repoInitReport struct {
	Root      string    `json:"root"` // path of root.json
	KeyCount  int       `json:"key_count"`
	Threshold int       `json:"threshold"`
	Expires   time.Time `json:"expires"`
}

func newRepoInitCmd(stdout io.Writer) *cobra.Command {
	var o repoOptions
	var opt tuf.InitOptions
	var expires string
	c := &cobra.Command{
		Use:   "init --repo DIR --keys DIR",
		Short: "Make a new repository and its keys",
		Long: `Make a new repository and its keys (ed25519).

Images that should trust the repository need its root.json as /usr/share/updog/root.json. Root and
targets get --key-count keys each, of which --threshold must sign; snapshot and timestamp have one.
Keys are readable by their owner only. Nothing that exists is overwritten.`,
		Example: "  imgtool repo init --repo build/repo --keys ~/keys --key-count 3 --threshold 2 --root-expires 52w",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return withUsage(c, err)
			}
			var err error
			if opt.Expires, err = parseLife(expires); err != nil {
				return withUsage(c, fmt.Errorf("--root-expires: %w", err))
			}
			if opt.Threshold < 1 || opt.KeyCount < opt.Threshold {
				return withUsage(c, fmt.Errorf("--threshold %d with --key-count %d: want 1 <= threshold <= keys", opt.Threshold, opt.KeyCount))
			}
			opt.Now = time.Now()
			path, err := tuf.Init(o.repo, o.keys, opt)
			if err != nil {
				return repoHint(err)
			}
			r := repoInitReport{path, opt.KeyCount, opt.Threshold, opt.Now.Add(opt.Expires).UTC().Truncate(time.Second)}
			return o.report(stdout, r, fmt.Sprintf("made repository %s\nroot of trust: %s (expires %s)\nkeep secret: %s\n",
				o.repo, path, r.Expires.Format(time.DateOnly), o.keys))
		},
	}
	o.register(c)
	f := c.Flags()
	f.IntVar(&opt.Threshold, "threshold", 1, "`number` of keys that must sign root and targets")
	f.IntVar(&opt.KeyCount, "key-count", 1, "`number` of keys for root and for targets")
	f.StringVar(&expires, "root-expires", "52w", "`life` of root.json: days or weeks, for example 90d or 52w")
	return c
}

// parseLife reads a number of days or weeks.
func parseLife(s string) (time.Duration, error) {
	days := map[string]int{"d": 1, "w": 7}
	for unit, d := range days {
		digits, ok := strings.CutSuffix(s, unit)
		if n, err := strconv.ParseUint(digits, 10, 16); ok && err == nil && n > 0 && n <= 5200 {
			return time.Duration(n) * time.Duration(d) * 24 * time.Hour, nil
		}
	}
	return 0, fmt.Errorf("%q is not a number of days or weeks such as 90d or 52w", s)
}

// repoHint adds what to try next to the errors that people will meet.
func repoHint(err error) error {
	switch {
	case errors.Is(err, tuf.ErrInitialized):
		return cli.WithHint(err, "choose other folders, or publish into it with 'imgtool repo publish'")
	case errors.Is(err, tuf.ErrNoRepository):
		return cli.WithHint(err, "make it with 'imgtool repo init'")
	case errors.Is(err, tuf.ErrNoKey):
		return cli.WithHint(err, "give the --keys folder that 'imgtool repo init' made for this repository")
	}
	return err
}
