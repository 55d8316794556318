// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRelease(t *testing.T) {
	want := Release{Version: "1.2.3", Variant: "aws", PrettyName: "Some OS", BuildID: "abc", ID: "os"}
	tests := map[string]struct {
		text string
		want Release
	}{
		"bare":           {"VERSION_ID=1.2.3\nVARIANT_ID=aws\nPRETTY_NAME=Some OS\nBUILD_ID=abc\nID=os", want},
		"double quotes":  {"VERSION_ID=\"1.2.3\"\nVARIANT_ID=\"aws\"\nPRETTY_NAME=\"Some OS\"\nBUILD_ID=\"abc\"\nID=\"os\"\n", want},
		"single quotes":  {"VERSION_ID='1.2.3'\nVARIANT_ID='aws'\nPRETTY_NAME='Some OS'\nBUILD_ID='abc'\nID='os'\n", want},
		"Windows":        {"VERSION_ID=1.2.3\r\nVARIANT_ID=\"aws\"\r\nPRETTY_NAME='Some OS'\r\nBUILD_ID=abc\r\nID=os\r\n", want},
		"noise":          {"# comment\n\n \t\nHOME_URL=\"https://x\"\n=\nno equals\n  VERSION_ID=1.2.3\nVARIANT_ID=aws\nPRETTY_NAME=Some OS\nBUILD_ID=abc\nID=os\n\x00\xff=1", want},
		"last one wins":  {"VERSION_ID=9\nVERSION_ID=1\n", Release{Version: "1"}},
		"escapes":        {`VERSION_ID=1` + "\n" + `PRETTY_NAME="a \"b\" \\ \$ \n"`, Release{Version: "1", PrettyName: `a "b" \ $ \n`}},
		"empty":          {"VERSION_ID=1\nID=\nVARIANT_ID=\"\"\nBUILD_ID=''\n", Release{Version: "1"}},
		"broken quotes":  {"VERSION_ID=1\nID=\"os\nVARIANT_ID='a'b'\nBUILD_ID=\"a\"b\nPRETTY_NAME=it's\n", Release{Version: "1"}},
		"equals in text": {"VERSION_ID=1\nPRETTY_NAME=a=b\n", Release{Version: "1", PrettyName: "a=b"}},
	}
	for name, test := range tests {
		got, err := ParseRelease(strings.NewReader(test.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	for name, text := range map[string]string{
		"empty file": "", "no version": "ID=os\n", "empty version": "VERSION_ID=\n", "too long": "VERSION_ID=1\n" + strings.Repeat("#", maxRelease),
	} {
		if got, err := ParseRelease(strings.NewReader(text)); !errors.Is(err, ErrRelease) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// What was read can be written, and reads the same again.
func FuzzParseRelease(f *testing.F) {
	f.Add("VERSION_ID=\"1.2.3\"\r\nPRETTY_NAME='a b'\n# x\nID=\"\\\\\\\"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		first, err := ParseRelease(strings.NewReader(text))
		if err != nil {
			return
		}
		if len(first.String()) > maxRelease {
			return
		}
		again, err := ParseRelease(strings.NewReader(first.String()))
		if err != nil || again != first {
			t.Fatalf("%+v became %+v (%v)", first, again, err)
		}
	})
}

// A payload comes back only from the very bytes that carry it. (Of the header the fuzzer makes the first
// bytes only: the rest must be zero, and short inputs are faster.)
func FuzzDecodeBoot(f *testing.F) {
	good := encodeBoot([]byte(commandLine{rootSize: 8192}.String()))
	f.Add(good[:64], good[bootHeaderSize:], uint16(0), byte(0))
	f.Add(good[:64], good[bootHeaderSize:], uint16(4100), byte(1))
	f.Fuzz(func(t *testing.T, header, payload []byte, at uint16, flip byte) {
		image := make([]byte, bootHeaderSize)
		copy(image, header)
		image = append(image, payload...)
		payload, err := decodeBoot(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			return
		}
		if again := encodeBoot(payload); !bytes.HasPrefix(image, again) {
			t.Fatal("decoded something that encodes differently")
		}
		if _, err := parseCommandLine(payload); err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("error %v is not ErrDamaged", err)
		}
		if used := bootHeaderSize + len(payload); int(at) < used && flip != 0 {
			image[at] ^= flip
			if _, err := decodeBoot(bytes.NewReader(image), int64(len(image))); !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d was changed by %#x: %v", at, flip, err)
			}
		}
	})
}

func TestParseCommandLine(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	c, err := parseCommandLine([]byte("panic=1 drydock.rootsize=8192  quiet drydock.roothash=" + hash + "\n"))
	if err != nil || c.rootSize != 8192 || c.rootHash[31] != 0xab {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{
		"", "drydock.roothash=" + hash, "drydock.rootsize=8192", "drydock.roothash=ab drydock.rootsize=8192",
		"drydock.roothash=" + hash + " drydock.rootsize=-1", "drydock.roothash=" + hash + " drydock.rootsize=99999999999999999999",
		"drydock.roothash=" + hash + " drydock.rootsize=1 drydock.rootsize=2",
		"drydock.roothash=" + hash + " drydock.roothash=" + hash + " drydock.rootsize=1",
	} {
		if c, err := parseCommandLine([]byte(bad)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %+v, %v", bad, c, err)
		}
	}
}
