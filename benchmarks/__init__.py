"""Speed and accuracy of this package side by side with its peers."""
