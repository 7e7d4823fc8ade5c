package queue

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The command table of the documentation is that of the code.
func TestCommandsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## Commands\n")
	if !ok {
		t.Fatal("no section about commands")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	type row struct{ since, entity string }
	documented := make(map[string]row)
	code := regexp.MustCompile("`([A-Z]+)`")
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 8 || !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, tag := range code.FindAllStringSubmatch(cells[1], -1) {
			documented[tag[1]] = row{strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])}
		}
	}
	entities := map[Party]string{
		Anybody: "–", Recipient: "recipient", Sender: "sender", Notifier: "notifier", ProxyUser: "proxy session",
	}
	for _, info := range Commands() {
		if info.MinVersion > Supported().Max {
			if !strings.Contains(section, "`"+info.Tag+"`") {
				t.Errorf("%s is not mentioned", info.Tag)
			}
			continue
		}
		got, ok := documented[info.Tag]
		if want := (row{strconv.Itoa(int(info.MinVersion)), entities[info.Party]}); !ok || got != want {
			t.Errorf("%s is documented as %+v instead of %+v", info.Tag, got, want)
		}
	}
}
