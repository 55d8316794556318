// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxRelease bounds os-release; real ones have less than 1 KiB.
const maxRelease = 64 << 10

// ErrRelease means that an os-release file does not say which system it describes.
var ErrRelease = errors.New("unusable os-release")

// Release is what /usr/lib/os-release says about a system. The keys of the file are VERSION_ID, VARIANT_ID,
// PRETTY_NAME, BUILD_ID and ID.
type Release struct{ Version, Variant, PrettyName, BuildID, ID string }

// ParseRelease reads the format of os-release(5): KEY=value lines, values bare or in single or double
// quotes, comments, blank lines. Windows line ends are accepted. Unknown keys and lines that make no
// sense are passed over, since one odd line must not keep a host from starting. The error wraps
// ErrRelease if the file is longer than 64 KiB or has no VERSION_ID.
func ParseRelease(r io.Reader) (Release, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxRelease+1))
	if err != nil {
		return Release{}, fmt.Errorf("reading os-release: %w", err)
	}
	if len(b) > maxRelease {
		return Release{}, fmt.Errorf("%w: longer than %d bytes", ErrRelease, maxRelease)
	}
	var rel Release
	fields := map[string]*string{
		"VERSION_ID": &rel.Version, "VARIANT_ID": &rel.Variant, "PRETTY_NAME": &rel.PrettyName,
		"BUILD_ID": &rel.BuildID, "ID": &rel.ID,
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		field := fields[key]
		if !ok || field == nil {
			continue
		}
		if v, ok := unquote(strings.TrimSpace(value)); ok {
			*field = v // the last one counts, as in a shell
		}
	}
	if rel.Version == "" {
		return Release{}, fmt.Errorf("%w: no VERSION_ID", ErrRelease)
	}
	return rel, nil
}

// unquote undoes the quoting of a shell, as far as os-release(5) allows it.
func unquote(s string) (string, bool) {
	if s == "" {
		return "", true
	}
	switch q := s[0]; q {
	case '\'':
		if len(s) < 2 || s[len(s)-1] != q || strings.Contains(s[1:len(s)-1], "'") {
			return "", false
		}
		return s[1 : len(s)-1], true
	case '"':
		var out strings.Builder
		for i := 1; i < len(s); i++ {
			switch c := s[i]; {
			case c == '"':
				return out.String(), i == len(s)-1
			case c == '\\' && i+1 < len(s) && strings.IndexByte("\"\\$`", s[i+1]) >= 0:
				i++
				out.WriteByte(s[i])
			default:
				out.WriteByte(c)
			}
		}
		return "", false
	}
	return s, !strings.ContainsAny(s, "\"'\\") // blanks are wrong here, but plain
}

// String returns the text of an os-release file that ParseRelease reads back as r.
func (r Release) String() string {
	var out strings.Builder
	escape := strings.NewReplacer("\"", "\\\"", "\\", "\\\\", "$", "\\$", "`", "\\`")
	for _, kv := range [][2]string{
		{"NAME", "Drydock"}, {"ID", r.ID}, {"PRETTY_NAME", r.PrettyName}, {"VARIANT_ID", r.Variant},
		{"VERSION_ID", r.Version}, {"BUILD_ID", r.BuildID},
	} {
		fmt.Fprintf(&out, "%s=\"%s\"\n", kv[0], escape.Replace(kv[1]))
	}
	return out.String()
}
