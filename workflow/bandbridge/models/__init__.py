"""Devices, weights, CLIPs, text heads, backbones, students, and running an encoder over a store."""
