// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/program"
)

// names are those of all links to this program, sorted.
func names() []string {
	all := slices.Collect(maps.Keys(linkNames))
	for name := range tools {
		all = append(all, name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// linked returns the arguments of a call through a link. What a shell asks to complete words goes to the root command,
// which knows the tool by its name.
func linked(name string, args []string) []string {
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		return append([]string{args[0], name}, args[1:]...)
	}
	return append([]string{name}, args...)
}

// newCompletionCmd replaces the library's command, whose scripts know one name of this program only.
func newCompletionCmd(root *cobra.Command, stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "completion {bash|zsh|fish}", Short: "Write a script that completes words in a shell",
		Long:      "Write a script that completes words of this program and of all tools that are links to it.",
		Example:   "  hostd completion bash > /etc/bash_completion.d/hostd",
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return program.WithUsage(c, cli.Usagef("want the name of one shell"))
			}
			var script strings.Builder
			var more string
			var err error
			links := strings.Join(names(), " ")
			switch args[0] {
			case "bash":
				err = root.GenBashCompletionV2(&script, true)
				more = "complete -o default -o nospace -F __start_hostd " + links + "\n"
			case "zsh":
				err = root.GenZshCompletion(&script)
				more = "compdef _hostd " + links + "\n"
			case "fish":
				err = root.GenFishCompletion(&script, true)
				more = "for tool in " + links + "\n    complete -c $tool -e\n    complete -c $tool -n '__hostd_prepare_completions' -f -a '$__hostd_comp_results'\nend\n"
			default:
				return program.WithUsage(c, cli.Usagef("unknown shell %q", args[0]))
			}
			if err != nil {
				return err
			}
			text := script.String()
			if args[0] == "zsh" { // the first line is what zsh reads when the script is in its folder
				text = strings.Replace(text, "#compdef hostd\n", "#compdef hostd "+links+"\n", 1)
			}
			_, err = fmt.Fprint(stdout, text, more)
			return err
		},
	}
}
