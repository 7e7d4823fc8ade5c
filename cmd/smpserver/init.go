package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/queue"
)

func newInit() *cobra.Command {
	var host, listen string
	var asJSON bool
	c := &cobra.Command{
		Use:   "init",
		Short: "Make a relay: certificates and configuration",
		Long: `Makes the folder of a relay with its certificates and its configuration, and prints its address.
What is there already stays as it is, so it can be run again.

ca.key is not needed to run the relay. Who has it can impersonate the relay: keep it on another machine.`,
		Example: "  smpserver init --host smp.example.org",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := relayDir(c)
			if err != nil {
				return err
			}
			address, err := initialise(dir, host, listen)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c, struct {
					Address string `json:"address"`
					Dir     string `json:"dir"`
				}{address, dir})
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), address)
			return err
		},
	}
	c.Flags().StringVar(&host, "host", "", "name or IP address under which clients find the relay (SMPSERVER_HOST)")
	c.Flags().StringVar(&listen, "listen", "", `address to listen at (SMPSERVER_LISTEN; default ":5223")`)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// initialise makes what is missing in dir and returns the address of the relay.
func initialise(dir, host, listen string) (address string, err error) {
	have, err := exists(dir, configFile)
	if err != nil {
		return "", err
	}
	var c config
	if have {
		c, err = loadConfig(dir)
		if err == nil && host != "" && host != c.Host {
			err = usageError{fmt.Errorf("the relay has another host already; change it in %s", configFile)}
		}
	} else {
		c, err = newConfig(host, listen)
	}
	if err != nil {
		return "", err
	}
	if err := c.check(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	identity, err := makeIdentity(dir, certificateName(c.Host), time.Now())
	if err != nil {
		return "", err
	}
	if !have {
		text := fmt.Sprintf(configTemplate, strconv.Quote(c.Host), strconv.Quote(c.Listen[0]))
		if err := writeFile(filepath.Join(dir, configFile), []byte(text)); err != nil {
			return "", err
		}
	}
	_, port, err := net.SplitHostPort(c.Listen[0])
	if err != nil {
		return "", err
	}
	return c.address(identity, port)
}

// newConfig is the configuration of a new relay.
func newConfig(host, listen string) (config, error) {
	if host == "" {
		host = os.Getenv("SMPSERVER_HOST")
	}
	if host == "" {
		return config{}, usageError{errors.New("a new relay needs --host")}
	}
	if listen == "" {
		listen = os.Getenv("SMPSERVER_LISTEN")
	}
	if listen == "" {
		listen = ":5223"
	}
	return config{Host: host, Listen: []string{listen}}, nil
}

func printJSON(c *cobra.Command, v any) error {
	encoder := json.NewEncoder(c.OutOrStdout())
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// certificateName is the first host; clients do not look at it.
func certificateName(host string) string {
	hosts, _, err := queue.ParseHosts(host)
	if err != nil {
		return host
	}
	return hosts[0]
}
