// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manpage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestPages(t *testing.T) {
	root := &cobra.Command{Use: "tool", Short: "Do things", Run: func(*cobra.Command, []string) {}}
	sub := &cobra.Command{
		Use: "run --speed N", Short: "Run", Long: "Run.\n\n.hidden request\n'and another", Example: `  tool run \` + "\n    --speed 2",
		Run: func(*cobra.Command, []string) {},
	}
	sub.Flags().Int("speed", 1, "`number` of rounds")
	root.AddCommand(sub, Command(func(dir string) error { return WriteText(dir, "other", "Another", "other: help\n") }))
	dir := filepath.Join(t.TempDir(), "man")
	root.SetArgs([]string{"man", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"tool.1": ".TH \"TOOL\" 1 \"\" Drydock\n.SH NAME\ntool \\- Do things\n.SH SYNOPSIS\n.B tool\n" +
			".SH DESCRIPTION\n.nf\nDo things\n.fi\n.SH SEE ALSO\n\\fBtool\\-run\\fR(1)\n",
		"tool-run.1": ".TH \"TOOL-RUN\" 1 \"\" Drydock\n.SH NAME\ntool\\-run \\- Run\n.SH SYNOPSIS\n.B tool run \\-\\-speed N [flags]\n" +
			".SH DESCRIPTION\n.nf\nRun.\n\n\\&.hidden request\n\\&'and another\n.fi\n" +
			".SH OPTIONS\n.TP\n.B \\-\\-speed number\nnumber of rounds\n(default 1)\n" +
			".SH EXAMPLES\n.nf\n  tool run \\e\n    \\-\\-speed 2\n.fi\n.SH SEE ALSO\n\\fBtool\\fR(1)\n",
		"other.1": ".TH \"OTHER\" 1 \"\" Drydock\n.SH NAME\nother \\- Another\n.SH DESCRIPTION\n.nf\nother: help\n.fi\n",
	}
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = string(data)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages differ:\n%s", diff)
	}
}
