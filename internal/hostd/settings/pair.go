// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/drydock-os/drydock/internal/hostd/store"
)

// PairError is about a text without = between a key and a value.
type PairError struct{ Text string }

func (e *PairError) Error() string { return "no = in " + show(e.Text) }

// KeyError is about a text before = that is no key. It wraps store.ErrKey.
type KeyError struct {
	Name string
	err  error
}

func (e *KeyError) Error() string { return show(e.Name) + ": " + e.err.Error() }
func (e *KeyError) Unwrap() error { return e.err }

// DecodePairs reads the list of texts that a JSON object has under a name. It returns *SyntaxError.
func DecodePairs(data []byte, name string) ([]string, error) {
	v, err := decode(data)
	if err != nil {
		return nil, err
	}
	fail := func(reason string) ([]string, error) {
		line, column := position(data, int64(len(data)))
		return nil, &SyntaxError{reason, line, column}
	}
	o, ok := v.(object)
	if !ok {
		return fail(show(v) + " is not valid: it must be an object")
	}
	list, ok := o[name].([]any)
	if _, given := o[name]; !given {
		return fail("missing field `" + name + "`")
	} else if !ok {
		return fail("`" + name + "` is not valid: it must be a list of texts")
	}
	pairs := make([]string, len(list))
	for i, item := range list {
		if pairs[i], ok = item.(string); !ok {
			return fail("`" + name + "` is not valid: it must be a list of texts")
		}
	}
	return pairs, nil
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// ParsePairs reads settings written as key=value, such as motd=hi or settings.updates.ignore-waves=true. What looks like
// a number or like true and false is taken for one where the setting may be one, and for text where it may be text.
// Lists cannot be written this way. It returns *PairError, *KeyError or ErrInvalid.
func (m *Model) ParsePairs(pairs []string) (map[store.Key]store.Value, error) {
	values := map[store.Key]store.Value{}
	for _, pair := range pairs {
		name, text, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, &PairError{pair}
		}
		key, err := store.ParseKey(name)
		if err != nil {
			return nil, &KeyError{name, err}
		}
		segments := key.Segments()
		if segments[0] != store.Settings {
			segments = append([]string{store.Settings}, segments...)
			if key, err = store.NewKey(segments...); err != nil {
				return nil, &KeyError{name, err}
			}
		}
		s, err := m.lookup(key)
		if err != nil {
			return nil, err
		}
		segments[len(segments)-1] = canonicalName(s, segments[len(segments)-1])
		var v any = text
		if guess := guessValue(text); guess != nil {
			_, fits := s.of.parse(guess)
			_, fitsAsText := s.of.parse(text)
			if fits || !fitsAsText { // when neither does, the complaint is about what people have written
				v = guess
			}
		}
		if err := s.read(segments, v, values); err != nil {
			return nil, err
		}
	}
	return values, m.CheckTogether(values, values)
}

// guessValue returns what a text is if it is more than text.
func guessValue(text string) any {
	switch {
	case text == "true":
		return true
	case text == "false":
		return false
	case jsonNumber.MatchString(text):
		return json.Number(text)
	}
	return nil
}

func canonicalName(s *setting, name string) string {
	if s.alias == name && name != "" {
		return s.key[strings.LastIndexByte(s.key, '.')+1:]
	}
	return name
}
