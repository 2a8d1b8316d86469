"""How replies are judged, as counts that can be added."""
