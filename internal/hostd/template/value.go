// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

func isNull(v any) bool {
	_, absent := v.(missing)
	return absent || v == nil
}

// number returns the value of a number, however it came.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// truth is what conditions mean by true: neither absent nor empty nor zero.
func truth(v any) bool {
	if n, is := number(v); is {
		return n != 0
	}
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return false
}

// text is how a value is written. Lists and objects have no form that a file would want.
func text(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case missing:
		return "", v
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case json.Number:
		return v.String(), nil
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case []any:
		return "", errors.New("a list cannot be written as it is")
	case map[string]any:
		return "", errors.New("an object cannot be written as it is")
	}
	return "", fmt.Errorf("value of type %T", v)
}
