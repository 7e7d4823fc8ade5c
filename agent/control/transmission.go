package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxLine   = 64 << 10 // bytes of one line; links have about 3,000
	maxBody   = 64 << 10 // bytes of a command's body; every body that an agent takes is smaller
	maxAnswer = 64 << 20 // bytes of the body of an answer or event, which may list everything there is
)

var (
	// errSyntax is a transmission that is not understood; the stream is still in step.
	errSyntax = errors.New("malformed command")
	// errTooLarge is a transmission with too large a body, which was skipped; the stream is still in step.
	errTooLarge = errors.New("too large")
	// errOutOfStep is input after which nobody can tell where the next transmission starts.
	errOutOfStep = errors.New("malformed transmission, connection closed")
)

// transmission is one command, answer or event.
type transmission struct {
	corrID string
	entity string
	name   string   // first word of the command line
	words  []string // the other words, without the body
	body   []byte   // nil if there is none
	text   bool     // the body is the rest of the line
}

// append writes the transmission. Words must satisfy checkWord, a body that is text has no line ends.
func (t transmission) append(dst []byte) []byte {
	dst = append(append(dst, t.corrID...), "\r\n"...)
	dst = append(append(dst, t.entity...), "\r\n"...)
	dst = append(dst, t.name...)
	for _, w := range t.words {
		dst = append(append(dst, ' '), w...)
	}
	switch {
	case t.body == nil:
	case t.text:
		dst = append(append(dst, " :"...), t.body...)
	default:
		dst = strconv.AppendInt(append(dst, ' '), int64(len(t.body)), 10)
		dst = append(append(dst, '\n'), t.body...)
	}
	return append(dst, "\r\n"...)
}

// checkWord tells whether w can be a word of a command line.
func checkWord(w string) error {
	ok := w != "" && w[0] != ':' && utf8.ValidString(w)
	for i := range len(w) {
		ok = ok && w[i] > ' ' && w[i] != 0x7f
	}
	if !ok {
		return fmt.Errorf("%w: a word is empty, has a space or control character or begins with a colon", errSyntax)
	}
	return nil
}

// reader reads transmissions.
type reader struct {
	in      *bufio.Reader
	largest int // bytes of a body
}

func newReader(in io.Reader, largest int) *reader {
	return &reader{bufio.NewReaderSize(in, maxLine), largest}
}

// read returns the next transmission. io.EOF at the end, errOutOfStep if the connection must be closed. With errSyntax and
// errTooLarge the correlation ID and the entity are there, and the next transmission can be read.
//
// Lines end with CR LF or LF. In a transmission whose first line ends with CR LF, a command line that ends with LF alone
// has a body behind it, and its last word is the size. So the reader stays in step whether it knows the command or not;
// who ends all lines with LF can write bodies as text only.
func (r *reader) read() (t transmission, err error) {
	var strict bool
	if t.corrID, strict, err = r.line(); err != nil {
		return t, err
	}
	if t.entity, _, err = r.line(); err != nil {
		return t, inside(err)
	}
	line, crlf, err := r.line()
	if err != nil {
		return t, inside(err)
	}
	head, text, isText := strings.Cut(line, " :")
	words := strings.Split(head, " ")
	switch {
	case isText:
		t.body, t.text = []byte(text), true
	case strict && !crlf:
		last := len(words) - 1
		size, ok := parseSize(words[last])
		if !ok || last == 0 {
			return t, fmt.Errorf("%w: a line that ends with LF alone needs the size of a body", errOutOfStep)
		}
		words = words[:last]
		if t.body, err = r.body(size); err != nil {
			return t, err
		}
	}
	for _, w := range words {
		if err := checkWord(w); err != nil {
			return t, err
		}
	}
	t.name, t.words = words[0], words[1:]
	return t, nil
}

func (r *reader) body(size int) ([]byte, error) {
	var body []byte
	var err error
	if size <= r.largest {
		body = make([]byte, size)
		_, err = io.ReadFull(r.in, body)
	} else {
		_, err = io.CopyN(io.Discard, r.in, int64(size))
	}
	if err != nil {
		return nil, inside(err)
	}
	switch end, _, err := r.line(); {
	case err != nil:
		return nil, inside(err)
	case end != "":
		return nil, fmt.Errorf("%w: body is longer than its size", errOutOfStep)
	case body == nil:
		return nil, fmt.Errorf("%w: body of more than %d bytes", errTooLarge, r.largest)
	}
	return body, nil
}

// parseSize reads the size of a body.
func parseSize(w string) (int, bool) {
	n, err := strconv.ParseInt(w, 10, 32)
	return int(n), err == nil && n >= 0 && strconv.FormatInt(n, 10) == w
}

// line returns the next line without its end, and whether that was CR LF.
func (r *reader) line() (text string, crlf bool, err error) {
	b, err := r.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", false, fmt.Errorf("%w: line of more than %d bytes", errOutOfStep, maxLine)
	case errors.Is(err, io.EOF) && len(b) > 0:
		return "", false, io.ErrUnexpectedEOF
	case err != nil:
		return "", false, err
	}
	text, crlf = strings.CutSuffix(string(b[:len(b)-1]), "\r")
	return text, crlf, nil
}

// inside is the error of a stream that ends inside a transmission.
func inside(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
