// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package apiclient is the command line of the host API: what people type on a host, and what agents that know no HTTP
// run instead.
//
// Other programs depend on how it behaves, so arguments, exit codes (0 done, 1 failed, 2 usage), the reply on stdout
// and the one line on stderr that begins with "Failed" are as in the original. In particular the first "Status" on
// stderr is always followed by the code of the answer, so that word appears nowhere else.
package apiclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// requestTimeout bounds one request: the longest that a server may take is a status request that waits.
const requestTimeout = hostapi.MaxWait + 90*time.Second

// Config holds the surroundings of one call. Fields are required unless they name a default.
type Config struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Socket         string // of the host, when the command line names none; default hostapi.DefaultSocket
}

// app is one call.
type app struct {
	Config
	api     *hostapi.Client
	socket  string
	quiet   bool // no word about progress
	verbose bool
}

// command is one subcommand: it gets the arguments that are its own.
type command func(ctx context.Context, a *app, args []string) error

// wordExec is the subcommand of which everything after the first word is not for this program.
const wordExec = "exec"

// commands are the subcommands that select themselves by their name.
var commands = map[string]command{
	"raw": raw, "get": get, "set": set, "apply": apply, "update": update, "reboot": reboot,
	wordExec: execute, "report": report,
}

// Words lists the subcommands, sorted.
func Words() []string { return slices.Sorted(maps.Keys(commands)) }

// Usage is the help text.
const Usage = `apiclient: talk to the API of this host

  apiclient [raw] -u URI [-m METHOD] [-d DATA]   make a request, print the reply
  apiclient get [PREFIX...] | /URI               print settings and system information as JSON
  apiclient set KEY=VALUE...                     change settings
  apiclient set -j JSON                          change settings
  apiclient apply [URI... | -]                   change settings by TOML or JSON from file://, http(s)://, or stdin
  apiclient update check                         look for an update, print the status
  apiclient update apply [-c] [-r]               write the update and make it the next to boot; -c check first, -r reboot
  apiclient update cancel                        do not boot into the update
  apiclient update unblock VERSION               let a version be tried again that fell back on this host
  apiclient reboot                               reboot this host
  apiclient exec [-t | -T] CONTAINER COMMAND...  run a command in a host container; -t with a terminal, -T without
  apiclient report list                          list the reports that this host can make

Everywhere:
  -s, --socket-path PATH   socket of the API (default ` + hostapi.DefaultSocket + `, below $DRYDOCK_ROOT)
  -v, --verbose            say more
      --log-level LEVEL    trace, debug, info (default), warn or error
  -h, --help               show this

Raw requests: -m, -X and --method are the same, and GET is the default.
Exec: without -t or -T there is a terminal when stdin and stdout are one. What follows CONTAINER is the command's own.
Exit codes: 0 done, 1 failed, 2 the command line is wrong; exec: that of the command, 128 + the signal that ended it.
`

// Run carries out one command line, without the program's name, and returns the exit code.
func Run(ctx context.Context, cfg Config, args []string) int {
	a := &app{Config: cfg}
	err := a.run(ctx, args)
	if err == nil {
		return cli.ExitOK
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	code := cli.ExitCode(err)
	if code == cli.ExitUsage {
		fmt.Fprintf(cfg.Stderr, "apiclient: error: %v\n", err)
		if hint := cli.Hint(err); hint != "" {
			fmt.Fprintf(cfg.Stderr, "apiclient: hint: %s\n", hint)
		}
		fmt.Fprintf(cfg.Stderr, "\n%s", Usage)
		return code
	}
	// This line is read by programs, so it has no prefix.
	fmt.Fprintln(cfg.Stderr, strings.TrimRight(err.Error(), "\n"))
	if hint := cli.Hint(err); hint != "" {
		fmt.Fprintf(cfg.Stderr, "apiclient: hint: %s\n", hint)
	}
	return code
}

func (a *app) run(ctx context.Context, args []string) error {
	socket := cmp.Or(a.Socket, hostapi.DefaultSocket)
	var run command
	var own []string
	word := ""
scan:
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, value, inline := strings.Cut(arg, "=")
		switch {
		case arg == "-h" || arg == "--help":
			_, err := io.WriteString(a.Stderr, Usage)
			return err
		case arg == "-v" || arg == "--verbose":
			a.verbose = true
		case name == "-s" || name == "--socket-path" || name == "--log-level":
			if !inline {
				if i++; i == len(args) {
					return cli.Usagef("%s needs a value", name)
				}
				value = args[i]
			}
			if name != "--log-level" {
				socket = value
			} else if err := a.setLevel(value); err != nil {
				return err
			}
		case run == nil && commands[arg] != nil:
			word, run = arg, commands[arg]
		case word == wordExec && (arg == "--" || !strings.HasPrefix(arg, "-")):
			own = append(own, args[i:]...)
			break scan
		default:
			own = append(own, arg)
		}
	}
	if run == nil {
		run = raw // as the first clients had it
	}
	a.api, a.socket = hostapi.New(socket), socket
	defer a.api.Close()
	return run(ctx, a, own)
}

func (a *app) setLevel(level string) error {
	levels := []string{"trace", "debug", "info", "warn", "error"}
	i := slices.Index(levels, strings.ToLower(level))
	if i < 0 {
		return cli.Usagef("--log-level %q: want one of %s", level, strings.Join(levels, ", "))
	}
	a.verbose, a.quiet = a.verbose || i < 2, i > 2
	return nil
}

// say tells people about progress.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.Stderr, format+"\n", args...)
	}
}

// answerError is an answer other than success. Its text is what programs look for.
type answerError struct {
	method, uri string
	code        int
	body        string
}

func (e *answerError) Error() string {
	return fmt.Sprintf("Failed %s request to '%s': Status %d when %sing %s: %s", e.method, e.uri, e.code, e.method, e.uri, strings.TrimRight(e.body, "\n"))
}

// request makes one request. Anything but 2xx is an *answerError.
func (a *app) request(ctx context.Context, method, uri string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	code, reply, err := a.api.Do(ctx, method, uri, body)
	if err != nil {
		err = fmt.Errorf("Failed %s request to '%s': %w", method, uri, err) //nolint:staticcheck // programs read this text
		return nil, cli.WithHint(err, "is the host daemon running, and may you use its socket?")
	}
	if a.verbose {
		a.say("%d %s", code, http.StatusText(code))
	}
	if code < 200 || code > 299 {
		return nil, &answerError{method, uri, code, string(reply)}
	}
	return reply, nil
}

// hasCode reports whether err is an answer with this code.
func hasCode(err error, code int) bool {
	e, ok := errors.AsType[*answerError](err)
	return ok && e.code == code
}

// raw makes a request as told.
func raw(ctx context.Context, a *app, args []string) error {
	method, uri, data := http.MethodGet, "", ""
	fields := map[string]*string{
		"-u": &uri, "--uri": &uri, "-m": &method, "-X": &method, "--method": &method, "-d": &data, "--data": &data,
	}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		field := fields[name]
		if field == nil {
			return cli.Usagef("unexpected argument %q", args[i])
		}
		if !inline {
			if i++; i == len(args) {
				return cli.Usagef("%s needs a value", name)
			}
			value = args[i]
		}
		*field = value
	}
	if uri == "" {
		return cli.Usagef("-u is required")
	}
	reply, err := a.request(ctx, method, uri, []byte(data))
	if err != nil || len(reply) == 0 {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%s\n", reply)
	return err
}

// reboot reboots the host.
func reboot(ctx context.Context, a *app, args []string) error {
	if len(args) > 0 {
		return cli.Usagef("unexpected argument %q", args[0])
	}
	if _, err := a.request(ctx, http.MethodPost, hostapi.PathReboot, nil); err != nil {
		return err
	}
	a.say("Rebooting, goodbye")
	return nil
}
