"""The local page: a web server for one user, which starts the console command."""
