// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
)

// connection is what the flags say about the cluster. The flags come from client-go, as those of kubectl do.
// Their other home, genericclioptions, links kustomize and with it package plugin: twice the size and memory of
// this binary, controller included.
type connection struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
}

// everydayFlags are the connection flags that help shows; the others work, too.
var everydayFlags = map[string]string{
	"kubeconfig":      "file that says how to reach clusters (default: $KUBECONFIG, else ~/.kube/config)",
	"context":         "entry of the kubeconfig to use (default: its current context)",
	"namespace":       "namespace of the operator (default " + v2.DefaultNamespace + ")",
	"as":              "user to act as",
	"request-timeout": "how long one request may take, such as 5s (default: no limit for each, 30s for all)",
}

func (c *connection) addFlags(cmd *cobra.Command) {
	var flags pflag.FlagSet
	flags.StringVar(&c.kubeconfig, clientcmd.RecommendedConfigPathFlag, "", "")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.Timeout.Default = "" // says for itself what it is
	names.ContextOverrideFlags.Namespace.ShortName = "n"
	names.ClusterOverrideFlags.APIServer.ShortName = "s"
	clientcmd.BindOverrideFlags(&c.overrides, &flags, names)
	flags.VisitAll(func(f *pflag.Flag) {
		usage, everyday := everydayFlags[f.Name]
		if f.Hidden = !everyday; everyday {
			f.Usage = usage
		}
		cmd.Flags().AddFlag(f)
	})
	cmd.Long += "\n\nThe cluster is found as kubectl finds it. Its other connection flags work, too, such as --server and --token."
}

// namespace is that of the operator. The one of the context is not asked: hardly anybody works in the operator's.
func (c *connection) namespace() string {
	if n := c.overrides.Context.Namespace; n != "" {
		return n
	}
	return v2.DefaultNamespace
}

// config is the access that the flags, the environment and the kubeconfig files describe.
func (c *connection) config() (*rest.Config, error) {
	if s := c.overrides.Timeout; s != "" {
		if _, err := clientcmd.ParseTimeout(s); err != nil {
			return nil, cli.Usagef("--request-timeout is %q, but may only be a time such as 5s or 2m", s)
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &c.overrides).ClientConfig()
	const file = "name the right file with --kubeconfig or KUBECONFIG"
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, cli.WithHint(errors.New("no cluster is configured: there is no kubeconfig"), file)
	case err != nil && c.overrides.CurrentContext != "":
		return nil, cli.WithHint(fmt.Errorf("reading the kubeconfig: %w", err), "'kubectl config get-contexts' lists those that there are; choose one with --context")
	case err != nil && (c.overrides.Context.Cluster != "" || c.overrides.Context.AuthInfo != ""):
		return nil, cli.WithHint(fmt.Errorf("reading the kubeconfig: %w", err), "'kubectl config view' shows the clusters and users that there are")
	case err != nil:
		return nil, cli.WithHint(fmt.Errorf("reading the kubeconfig: %w", err), file)
	}
	return cfg, nil
}

// connectByFlags makes the access to the cluster that the flags name.
func (t *tool) connectByFlags() (*cluster, error) {
	cfg, err := t.flags.config()
	if err != nil {
		return nil, err
	}
	cfg.UserAgent = "drydock/" + t.Version
	cfg.QPS = -1 // the server has fairness of its own
	cfg.WarningHandler = rest.NoWarnings{}
	return newCluster(cfg, t.flags.namespace(), t.Program)
}
