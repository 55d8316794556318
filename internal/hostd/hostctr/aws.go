// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/hostd/imds"
)

// AWS says how to log in to the private registries of Amazon's cloud, as which account the host works in.
//
// Keys are taken from the environment, else from the file that the setting aws.credentials is written to, else from the
// role of the instance. They are sent nowhere: they sign one request for a password that is good for some hours.
type AWS struct {
	Metadata    string // of the instance; default imds.DefaultBase
	Credentials string // path of a file with profiles
	Getenv      func(string) string
	Now         func() time.Time

	endpoint string // instead of the region's, for tests
}

// registryName is that of a private registry: account, region and the cloud's domain.
var registryName = regexp.MustCompile(`^[0-9]{12}\.dkr\.(ecr(?:-fips)?)\.([a-z0-9-]+)\.([a-z0-9.-]+)$`)

const (
	loginLimit  = 45 * time.Second // the metadata service alone is given half a minute
	maxLogin    = 1 << 20
	loginTarget = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
	jsonType    = "application/x-amz-json-1.1"
)

type awsKeys struct{ ID, Secret, Token string }

var errNoKeys = errors.New("no AWS keys: neither in the environment, nor in the settings, nor from a role of this instance")

// login returns name and password for a registry, or nothing when it is none of Amazon's.
func (a AWS) login(ctx context.Context, client *http.Client, registry string) (user, password string, err error) {
	m := registryName.FindStringSubmatch(registry)
	if m == nil {
		return "", "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	keys, err := a.keys(ctx)
	if err != nil {
		return "", "", fmt.Errorf("logging in to %s: %w", registry, err)
	}
	endpoint := a.endpoint
	if endpoint == "" {
		api := "api." + m[1]
		if m[1] != "ecr" {
			api = m[1]
		}
		endpoint = "https://" + api + "." + m[2] + "." + m[3]
	}
	user, password, err = a.token(ctx, client, endpoint, m[2], keys)
	if err != nil {
		return "", "", fmt.Errorf("logging in to %s: %w", registry, err)
	}
	return user, password, nil
}

func (a AWS) token(ctx context.Context, client *http.Client, endpoint, region string, keys awsKeys) (user, password string, err error) {
	body := []byte("{}")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("X-Amz-Target", loginTarget)
	sign(req, body, keys, region, "ecr", a.now())
	resp, err := client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxLogin))
	if err != nil {
		return "", "", err
	}
	if resp.StatusCode != http.StatusOK {
		var why struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		_ = json.Unmarshal(data, &why) // what is no JSON says nothing anyway
		return "", "", fmt.Errorf("status %d: %s %s", resp.StatusCode, why.Type, why.Message)
	}
	var reply struct {
		Data []struct {
			Token string `json:"authorizationToken"`
		} `json:"authorizationData"`
	}
	if err := json.Unmarshal(data, &reply); err != nil || len(reply.Data) == 0 {
		return "", "", errors.New("the answer holds no password")
	}
	return Credential{Auth: reply.Data[0].Token}.login()
}

func (a AWS) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

func (a AWS) keys(ctx context.Context) (awsKeys, error) {
	profile := "default"
	if a.Getenv != nil {
		if k := (awsKeys{a.Getenv("AWS_ACCESS_KEY_ID"), a.Getenv("AWS_SECRET_ACCESS_KEY"), a.Getenv("AWS_SESSION_TOKEN")}); k.ID != "" && k.Secret != "" {
			return k, nil
		}
		if name := a.Getenv("AWS_PROFILE"); name != "" {
			profile = name
		}
	}
	if a.Credentials != "" {
		f, err := os.Open(filepath.Clean(a.Credentials))
		if err == nil {
			defer f.Close()
			if k, ok := profileKeys(io.LimitReader(f, maxLogin), profile); ok {
				return k, nil
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return awsKeys{}, err
		}
	}
	cloud := imds.Client{Base: a.Metadata}
	role, err := cloud.Meta(ctx, "iam/security-credentials/")
	if err != nil {
		return awsKeys{}, fmt.Errorf("%w: %w", errNoKeys, err)
	}
	if role, _, _ = strings.Cut(role, "\n"); role == "" {
		return awsKeys{}, errNoKeys
	}
	text, err := cloud.Meta(ctx, "iam/security-credentials/"+role)
	if err != nil {
		return awsKeys{}, err
	}
	var k struct{ AccessKeyID, SecretAccessKey, Token string } // names match without regard to case
	if err := json.Unmarshal([]byte(text), &k); err != nil || k.AccessKeyID == "" {
		return awsKeys{}, fmt.Errorf("role %s: %w", role, errNoKeys)
	}
	return awsKeys{k.AccessKeyID, k.SecretAccessKey, k.Token}, nil
}

// profileKeys reads one profile of a credentials file.
func profileKeys(r io.Reader, profile string) (k awsKeys, ok bool) {
	inside := false
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			inside = strings.TrimSpace(strings.Trim(line, "[]")) == profile
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if !inside || !found {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "aws_access_key_id":
			k.ID = value
		case "aws_secret_access_key":
			k.Secret = value
		case "aws_session_token":
			k.Token = value
		}
	}
	return k, k.ID != "" && k.Secret != ""
}

// sign adds a signature, version 4, over the whole request. Its URL has no query and no path but "/".
func sign(req *http.Request, body []byte, keys awsKeys, region, service string, now time.Time) {
	stamp := now.UTC().Format("20060102T150405Z")
	day := stamp[:8]
	req.Header.Set("X-Amz-Date", stamp)
	if keys.Token != "" {
		req.Header.Set("X-Amz-Security-Token", keys.Token)
	}
	var canonical, names []string
	for _, name := range []string{"content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"} { // sorted
		value := req.Header.Get(name)
		if name == "host" {
			value = req.URL.Host
		}
		if value != "" {
			canonical = append(canonical, name+":"+strings.TrimSpace(value)+"\n")
			names = append(names, name)
		}
	}
	signed := strings.Join(names, ";")
	hash := func(data []byte) string { sum := sha256.Sum256(data); return hex.EncodeToString(sum[:]) }
	request := strings.Join([]string{req.Method, "/", "", strings.Join(canonical, ""), signed, hash(body)}, "\n")
	scope := strings.Join([]string{day, region, service, "aws4_request"}, "/")
	toSign := strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, hash([]byte(request))}, "\n")
	key := []byte("AWS4" + keys.Secret)
	for _, part := range []string{day, region, service, "aws4_request"} {
		key = mac(key, part)
	}
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		keys.ID, scope, signed, hex.EncodeToString(mac(key, toSign))))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
