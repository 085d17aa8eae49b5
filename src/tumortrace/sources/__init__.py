"""Published datasets: from the download of each to the folder that training reads."""
