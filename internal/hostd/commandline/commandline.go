// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package commandline makes words of command lines that settings and requests hold, as a shell does, so that no shell
// has to run.
//
// Nothing is expanded: variables, patterns and substitutions are plain text.
package commandline

import (
	"errors"
	"strings"
)

// Split makes words of a line: blanks separate, quotes and backslashes keep them. Between double quotes, a backslash
// stays where what follows has no meaning there.
func Split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	started, escaped := false, false
	for _, r := range line {
		switch {
		case escaped:
			escaped = false
			if quote == '"' && !strings.ContainsRune("$`\"\\\n", r) {
				word.WriteByte('\\')
			}
			if r != '\n' { // a line that goes on
				word.WriteRune(r)
			}
		case quote != '\'' && r == '\\':
			started, escaped = true, true
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			started, quote = true, r
		case r == ' ' || r == '\t' || r == '\n':
			if started {
				words = append(words, word.String())
				word.Reset()
				started = false
			}
		default:
			started = true
			word.WriteRune(r)
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("the command line ends inside a quotation")
	}
	if started {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, errors.New("the command line is empty")
	}
	return words, nil
}
