"""What methods return: solutions, posteriors, calibration reports; arrays with a status for every object."""
