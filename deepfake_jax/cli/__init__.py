"""The console command: parse, call, print, exit."""
