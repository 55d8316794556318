// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package setting

import (
	"fmt"
	"os"
	"strings"
)

// Document puts the table of settings into a page of the documents, between two comments that name the section, and
// returns the page as it is and as it is to be.
func Document(path, section string, settings []Setting) (now, wanted string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	now = string(data)
	begin, end := "<!-- settings of "+section+" -->\n", "<!-- end -->\n"
	before, rest, ok := strings.Cut(now, begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		return "", "", fmt.Errorf("%s has no place for the settings of %s", path, section)
	}
	return now, before + begin + Markdown(settings) + end + after, nil
}
