"""Image makers behind one Protocol (``base``), and the pure choice among their offers (``selector``)."""
