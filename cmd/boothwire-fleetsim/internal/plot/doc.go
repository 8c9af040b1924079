// Package plot draws charts as SVG that stands within a page: lines over two axes, with
// their names beside them, coloured by the page's style.
package plot
