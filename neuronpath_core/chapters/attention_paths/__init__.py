"""Chapter 17: paths over attention neurons and through both halves of every block, compared with
paths over FFN neurons, and the cost of removing each half."""
