// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"errors"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd"
	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/hostd/system"
	"github.com/drydock-os/drydock/internal/program"
)

// memoryLimit in bytes is where the garbage collector starts to work harder. The daemon needs about half of it while it
// writes an image, whatever the size of that, and much less otherwise; on small hosts memory belongs to the workload.
const memoryLimit = 18 << 20

func newServeCmd(stdout io.Writer) *cobra.Command {
	cfg := hostd.Config{}
	var logFlags program.Log
	c := &cobra.Command{
		Use:   "serve [--disk FILE|DEVICE]",
		Short: "Serve the host API and run updates",
		Long: `Serve the host API on a Unix socket, run updates, and mark the boot successful once the
API answers and the health checks in /etc/drydock/health.d and /usr/libexec/drydock/health.d pass.
A new system that does not prove itself in time is left for the one before. The running system is the slot that the kernel command line names
(drydock.boot_uuid=<PARTUUID of the booted boot partition>); update settings are read from
/etc/updog.toml. Stops cleanly on SIGTERM and SIGINT. A service manager may hold the socket, which then
stays while the daemon is restarted.`,
		Example: "  hostd serve --socket-gid 274\n  hostd serve --root host --disk host.img",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logFlags.New(stdout)
			if err != nil {
				return program.WithUsage(c, err)
			}
			cfg.Log = log
			if os.Getenv("GOMEMLIMIT") == "" {
				debug.SetMemoryLimit(memoryLimit)
			}
			// The service manager's socket is for this process, not for programs it starts.
			cfg.NotifySocket = os.Getenv("NOTIFY_SOCKET")
			if err := os.Unsetenv("NOTIFY_SOCKET"); err != nil {
				return err
			}
			if cfg.Listener, err = hostd.Inherited(); err != nil {
				return cli.WithHint(err, "the socket unit has one line ListenStream, with the path of --socket-path")
			}
			d, err := hostd.New(cfg)
			if errors.Is(err, system.ErrNoBootSlot) {
				err = cli.WithHint(err, "the boot loader must name the booted boot partition; see %s/proc/cmdline", cfg.Root)
			}
			if errors.Is(err, system.ErrNoDisk) {
				err = cli.WithHint(err, "name the system disk with --disk")
			}
			if err != nil {
				return err
			}
			err = d.Run(c.Context())
			if errors.Is(err, hostd.ErrRunning) {
				err = cli.WithHint(err, "stop it first, or serve another socket with --socket-path")
			}
			if advice := durable.Advice(err); advice != "" {
				err = cli.WithHint(err, "%s", advice)
			}
			return err
		},
	}
	f := c.Flags()
	rootdir.Flag(f, &cfg.Root)
	f.StringVar(&cfg.Disk, "disk", "", "system disk: device or image `file` (default: the one that was booted from)")
	f.StringVar(&cfg.SocketPath, "socket-path", hostapi.DefaultSocket, "`path` of the API socket, below --root")
	f.IntVar(&cfg.SocketGID, "socket-gid", -1, "numeric `group` that may use the socket, unless a service manager made it (default: that of the process)")
	f.StringVar(&cfg.RebootProgram, "reboot-program", "/usr/bin/systemctl", "`program` called with 'reboot --check-inhibitors=yes'")
	f.StringVar(&cfg.ExecProgram, "exec-program", "", "`program` that runs commands in host containers, called with the container's name and the command (default: host-ctr)")
	f.StringVar(&cfg.ExecSocket, "exec-socket-path", hostd.DefaultExecSocket, "`path` of the socket of the host containers' containerd, below --root")
	f.DurationVar(&cfg.HealthDeadline, "health-deadline", hostd.DefaultHealthDeadline, "`time` for a new system to prove itself, else the host goes back")
	f.StringVar(&cfg.KubeletURL, "kubelet-health", hostd.DefaultKubeletURL, "`URL` asked for the kubelet's health where there is /etc/kubernetes/kubelet; empty: not asked")
	logFlags.Flags(f, "stdout")
	return c
}
