// Two functions of Go under the names that they had before Go 1.26, in package strconv: Vitess v20 refers to them by these.

package strconv

import _ "unsafe" // for go:linkname

//go:linkname atof64Then strconv.atof64
func atof64Then(s string) (float64, int, error) {
	return atof64(s)
}

//go:linkname atof32Then strconv.atof32
func atof32Then(s string) (float32, int, error) {
	return atof32(s)
}
